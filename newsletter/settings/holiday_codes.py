"""Which public holidays `skip_holidays` names, and on which dates they are; from the `holidays` package."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from newsletter.settings.suggest import did_you_mean

PATTERN = r"^([A-Z]{2,5}([-_][A-Z0-9]{1,5})?)?$"
#: Holidays are named in English, where the package knows how.
_LANGUAGE = "en_US"


def check_holidays(value: str) -> str:
    """A code of the `holidays` package (`HK`, a part `GB-ENG`, a market `NYSE`) or `""`. Raises ValueError else."""
    if not re.fullmatch(PATTERN, value):
        raise ValueError('expected a holidays code such as "HK", "GB-ENG" or "" for none')
    if value:
        country, part = _parts(value)
        known = _known()
        if country not in known:
            near = did_you_mean(country, known)
            raise ValueError(
                f"the `holidays` package knows no country or market {country}{f'. {near}' if near else ''}"
            )
        if part and part not in known[country]:
            there = ", ".join(known[country])
            raise ValueError(f"{country} has no part {part}; {f'there are {there}' if there else 'it has none'}")
    return value


@lru_cache(maxsize=256)
def holidays_in(code: str, year: int) -> Mapping[dt.date, str]:
    """The holidays of a year with their names; a weekday on which one is observed counts. `code` is a checked one."""
    import holidays  # takes a fifth of a second, which only those who use it wait for

    country, part = _parts(code)
    if country in holidays.list_supported_countries(include_aliases=True):
        found = holidays.country_holidays(country, subdiv=part, years=year, language=_LANGUAGE)
    else:
        found = holidays.financial_holidays(country, subdiv=part, years=year, language=_LANGUAGE)
    return dict(found)


def _parts(code: str) -> tuple[str, str | None]:
    country, _, part = code.replace("_", "-").partition("-")
    return country, part or None


@lru_cache(maxsize=1)
def _known() -> Mapping[str, Sequence[str]]:
    """Countries and markets with their parts."""
    import holidays  # see holidays_in

    return {**holidays.list_supported_financial(), **holidays.list_supported_countries(include_aliases=True)}
