"""Whether mail can be made and handed over, and whether operators hear of it when not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from newsletter.alerts.channels import channels, pulse
from newsletter.doctor.model import Finding, NotChecked, Result, Status, Surroundings
from newsletter.errors import ConfigError, NewsletterError
from newsletter.issue.find import parse_ref
from newsletter.issue.model import Issue, Paragraph, Section, Story
from newsletter.pipeline.prepare import publication_of
from newsletter.pipeline.providers import tried
from newsletter.pipeline.request import IssueRequest
from newsletter.preflight.model import Examined, Level
from newsletter.preflight.registry import examine
from newsletter.rendering.render import Renderer
from newsletter.rendering.template_folder import find_template
from newsletter.settings.model import Newsletter
from newsletter.settings.provider_model import DiskProvider

_TEMPLATES, _PROVIDER, _ALERTS = "templates", "provider", "alerts"
#: Checks of an issue that look at the template and the settings, whatever the issue says.
_OF_TEMPLATES = {
    "unsubscribe-missing",
    "postal-address-missing",
    "html-incomplete",
    "text-incomplete",
    "hole-leftover",
    "active-content",
}


def check_templates(around: Surroundings) -> Iterator[Result]:
    """Each newsletter's template renders an issue with all that an issue can have, and keeps what every mail needs."""
    for name, newsletter in around.loaded.settings.newsletters.items():
        try:
            found = _template_findings(around, name, newsletter)
        except NewsletterError as error:
            yield Finding(_TEMPLATES, Status.FAIL, str(error), error.hint or "Mend the template.", name)
            continue
        except OSError as error:
            said = f"the template {newsletter.template} cannot be read: {error.strerror}"
            yield Finding(_TEMPLATES, Status.FAIL, said, "Look at the owner and mode of its files.", name)
            continue
        yield from found
        if not found:
            yield Finding(_TEMPLATES, Status.PASS, f"{newsletter.template} renders", about=name)


def _template_findings(around: Surroundings, name: str, newsletter: Newsletter) -> list[Finding]:
    today = around.now().date()
    request = IssueRequest(around.loaded, name, newsletter, parse_ref(today.isoformat(), today))
    publication, issue = publication_of(request), sample_issue(newsletter, today)
    rendered = Renderer(find_template(newsletter.template, around.template_roots), publication).render(issue)
    return [
        Finding(_TEMPLATES, Status.FAIL, one.message, one.hint, name)
        for one in examine(Examined(issue, rendered, publication))
        if one.id in _OF_TEMPLATES and one.level is Level.ERROR
    ]


def sample_issue(newsletter: Newsletter, date: dt.date) -> Issue:
    """An issue of every kind of block: a lead with a link, a story, headlines only, a note."""

    def paragraph(text: str) -> Paragraph:
        return Paragraph(text, text)

    text = "A sample paragraph, long enough to be one, that shows whether the template takes it as it is."
    stories = (
        Story("The first story of a sample issue", (paragraph(text), paragraph(text)), "https://www.iana.org/"),
        Story("Another story of a sample issue", (paragraph(text),)),
        Story("A headline alone"),
    )
    titles = newsletter.sections or ("News",)
    return Issue(
        title=newsletter.title,
        date=date,
        subject=newsletter.title,
        preheader="A sample issue",
        note=(paragraph("A note of the editor."),),
        sections=tuple(Section(title, stories) for title in titles),
        source=str(Path("sample")),
    )


def check_providers(around: Surroundings) -> Iterator[Result]:
    """Each provider that a newsletter goes out through has its secrets, and takes us in."""
    settings = around.loaded.settings
    users: dict[str, list[str]] = {}
    for name, newsletter in settings.newsletters.items():
        users.setdefault(newsletter.delivery.provider, []).append(name)
    for provider, names in users.items():
        if isinstance(settings.providers[provider], DiskProvider):
            enabled = [name for name in names if settings.newsletters[name].schedule.enabled]
            said = f"it writes to disk and sends nothing ({', '.join(names)})"
            do = "To send: name an SMTP server or a service under [providers], and that name in delivery.provider."
            yield Finding(_PROVIDER, Status.FAIL if enabled else Status.WARN, said, do, provider)
        else:
            yield from _logged_in(around, provider)


def _logged_in(around: Surroundings, name: str) -> Iterator[Result]:
    try:
        if around.online:
            said = tried(name, lambda: around.provider(name))
            yield Finding(_PROVIDER, Status.PASS, said, about=name)
        else:
            with closing(around.provider(name)):
                yield NotChecked(_PROVIDER, "--offline; its settings and secrets are there", name)
    except ConfigError as error:
        do = error.problems[0].suggestion or "Mend [providers] in the settings."
        yield Finding(_PROVIDER, Status.FAIL, str(error), do, name)
    except NewsletterError as error:
        yield Finding(_PROVIDER, Status.FAIL, str(error), error.hint, name)


def check_alerts(around: Surroundings) -> Iterator[Result]:
    """Somebody is told when something goes wrong, by URLs that are understood. Nothing is requested of them."""
    settings = around.loaded.settings
    try:
        places, switch = channels(around.loaded), pulse(around.loaded)
    except ConfigError as error:
        for problem in error.problems:
            yield Finding(_ALERTS, Status.FAIL, f"{problem.place}: {problem.message}", problem.suggestion)
        return
    enabled = any(one.schedule.enabled for one in settings.newsletters.values())
    if not places and enabled:
        do = "Write an https:// webhook or an Apprise URL into [notifications] urls."
        yield Finding(_ALERTS, Status.WARN, "nobody is told when a newsletter does not go out", do)
    elif switch is None and enabled:
        do = "Set `notifications.heartbeat_url`: a switch as of healthchecks.io alarms when nothing is heard."
        yield Finding(_ALERTS, Status.WARN, "nobody notices when this machine itself is off", do)
    else:
        there = [one.name for one in places] + ([switch.name] if switch else [])
        yield Finding(_ALERTS, Status.PASS, ", ".join(there) or "none, and no newsletter goes out by itself")
