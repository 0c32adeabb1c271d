"""Checks of a page as a browser lays it out. Each returns what is wrong, as sentences; an empty list is a pass."""

from __future__ import annotations

from playwright.sync_api import Page

#: The card is 600 px wide, and as wide as the window where that is narrower.
CARD_WIDTH = 600

LIGHT_CARD = "rgb(255, 255, 255)"
DARK_CARD = "rgb(23, 25, 29)"

#: Apple's and WCAG 2.2's enhanced size for something to be hit with a thumb, in CSS pixels.
TOUCH_TARGET = 44

_OVERFLOWING = """() => {
  const width = document.documentElement.clientWidth
  const wide = [...document.body.querySelectorAll('*')]
    .filter(e => e.getBoundingClientRect().right > width + 0.5 && !e.closest('.hidden'))  // what is there for nobody
  const found = wide.map(e => `<${e.tagName.toLowerCase()} class="${e.className}"> reaches over the right edge`)
  if (document.documentElement.scrollWidth > width) found.push('the page scrolls sideways')
  return found
}"""

_UNRESOLVED_ANCHORS = """() => [...document.querySelectorAll('a[href^="#"]')]
  .filter(a => document.querySelectorAll('[id="' + a.getAttribute('href').slice(1) + '"]').length !== 1)
  .map(a => `${a.getAttribute('href')} does not lead to one element`)"""

_SMALL_TARGETS = """size => [...document.querySelectorAll('.m a, .i a, .f a')]
  .filter(a => a.getBoundingClientRect().height < size)
  .map(a => `"${a.textContent}" is ${a.getBoundingClientRect().height} px high`)"""

_PLAIN_LINKS = """() => [...document.querySelectorAll('a[href]')]
  .filter(a => !getComputedStyle(a).textDecorationLine.includes('underline'))
  .map(a => `"${a.textContent}" is not underlined`)"""

# Contrast of WCAG 2.2, 1.4.3, from computed styles. `inverted` flips the lightness of both colours first, as the dark
# modes of Gmail's and Outlook's apps do to mail that does not bring its own.
_LOW_CONTRAST = """inverted => {
  const parse = colour => {
    const numbers = colour.match(/[0-9.]+/g).map(Number)
    return numbers.length > 3 ? numbers : [...numbers, 1]
  }
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]))
  const flip = rgb => {
    const shift = 255 - Math.max(...rgb) - Math.min(...rgb)
    return rgb.map(value => value + shift)
  }
  const linear = value => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  const luminance = rgb => 0.2126 * linear(rgb[0]) + 0.7152 * linear(rgb[1]) + 0.0722 * linear(rgb[2])
  const probe = document.createElement('i')
  probe.style.backgroundColor = 'Canvas'
  document.body.append(probe)
  const paper = parse(getComputedStyle(probe).backgroundColor)
  probe.remove()
  const behind = element => {
    const layers = []
    for (let at = element; at; at = at.parentElement) layers.unshift(parse(getComputedStyle(at).backgroundColor))
    return layers.reduce((below, top) => over(top, below), paper.slice(0, 3))
  }
  const found = []
  let measured = 0
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.replace(/[\\s\\u00a0]+/g, ' ').trim()
    const element = walker.currentNode.parentElement
    if (!text || !element.checkVisibility()) continue
    measured += 1
    const style = getComputedStyle(element)
    let background = behind(element)
    let ink = over(parse(style.color), background)
    if (inverted) [background, ink] = [flip(background), flip(ink)]
    const [light, dark] = [luminance(ink), luminance(background)].sort((a, b) => b - a)
    const ratio = (light + 0.05) / (dark + 0.05)
    const size = parseFloat(style.fontSize)
    const large = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight) >= 700)
    const shown = [ink, background].map(rgb => rgb.map(Math.round).join(' ')).join(' on ')
    const enough = large ? 3 : inverted ? 4 : 4.5
    if (ratio < enough) found.push(`"${text.slice(0, 40)}" is ${ratio.toFixed(2)}:1 (${shown})`)
  }
  return measured ? found : ['no text is visible']
}"""


def overflow(page: Page) -> list[str]:
    """Elements that reach over the right edge of the window."""
    return list(page.evaluate(_OVERFLOWING))


def card(page: Page) -> list[str]:
    """The card's width, and that it stands in the middle."""
    size = page.viewport_size
    assert size is not None
    box = page.locator(".k").first.bounding_box()
    assert box is not None
    expected = min(size["width"], CARD_WIDTH)
    left = (size["width"] - expected) / 2
    right_place = abs(box["width"] - expected) < 0.5 and abs(box["x"] - left) < 1
    return [] if right_place else [f"the card is {box['width']} px wide at {box['x']}, not {expected} at {left}"]


def contrast(page: Page, *, inverted: bool = False) -> list[str]:
    """Visible text below WCAG AA against what lies behind it."""
    return list(page.evaluate(_LOW_CONTRAST, inverted))


def anchors(page: Page) -> list[str]:
    """Links within the page that lead nowhere, or to more than one place."""
    return list(page.evaluate(_UNRESOLVED_ANCHORS))


def targets(page: Page) -> list[str]:
    """Links of masthead, contents and footer that a thumb would miss."""
    return list(page.evaluate(_SMALL_TARGETS, TOUCH_TARGET))


def underlines(page: Page) -> list[str]:
    """Links that only their colour tells from text."""
    return list(page.evaluate(_PLAIN_LINKS))


def follows_scheme(page: Page) -> list[str]:
    """A card that stays white in the dark, or turns dark in the light; only a mail with its styles can follow."""
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    colour = page.evaluate("getComputedStyle(document.querySelector('.k')).backgroundColor")
    expected = DARK_CARD if dark else LIGHT_CARD
    return [] if colour == expected else [f"the card is {colour}, not {expected}"]


def standards_mode(page: Page) -> list[str]:
    """Quirks mode, which a lost doctype brings."""
    mode = page.evaluate("document.compatMode")
    return [] if mode == "CSS1Compat" else [f"the page is laid out in quirks mode ({mode})"]


def everything(page: Page, *, styled: bool) -> list[str]:
    """What all checks together find; `styled` says that the page still has its `<style>` blocks."""
    checks = [standards_mode, overflow, card, contrast, anchors, targets, underlines]
    if styled:
        checks.append(follows_scheme)
    return [fault for check in checks for fault in check(page)]
