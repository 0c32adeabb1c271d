"""The API's operations on newsletters and issues: what there is, what its checks find, and that it may go out."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus

from fastapi import APIRouter

from newsletter.pipeline.check_issue import check_document
from newsletter.pipeline.issue_listing import IssueFile, has_issue, issue_files
from newsletter.pipeline.listing_parts import some_of
from newsletter.pipeline.request import IssueRequest
from newsletter.pipeline.subscriber_calls import one_line
from newsletter.settings.model import Newsletter
from newsletter.web import api_documents as documents
from newsletter.web.api_answers import answers
from newsletter.web.api_parts import part_document, text_after
from newsletter.web.api_problems import not_found
from newsletter.web.api_requests import After, Approve, Limit, NewsletterName, SlotName
from newsletter.web.api_rights import Reader, Sender, source_of
from newsletter.web.api_runs import request_of
from newsletter.web.api_turns import Turns
from newsletter.web.public import Public
from newsletter.web.sending_desk import say
from newsletter.wiring import issues, sending

_ISSUES = "i"
_ONE = "/issues/{newsletter}/{slot}"


def issue_operations(public: Public, turns: Turns) -> APIRouter:
    """The operations, under `/api/v1`."""
    routes = APIRouter(tags=["issues"])

    def found(newsletter: str, slot: str) -> IssueRequest:
        request = request_of(public, newsletter, slot)
        if not has_issue(request):
            raise not_found(f"there is no issue {newsletter}/{slot}")
        return request

    @routes.get("/newsletters", response_model=documents.NewsletterPart, responses=answers())
    def list_newsletters(_: Reader) -> object:
        """The newsletters of the settings."""
        newsletters = public.loaded.settings.newsletters
        return {"items": [_newsletter(public, name, one) for name, one in newsletters.items()], "next": None}

    @routes.get("/issues/{newsletter}", response_model=documents.IssuePart, responses=answers(404))
    def list_issues(_: Reader, newsletter: NewsletterName, after: After = "", limit: Limit = 100) -> object:
        """The issue files that there are, the latest first. Whether one went out, its run says."""
        settings = public.newsletter(newsletter)
        if settings is None:
            raise not_found(f"there is no newsletter {newsletter}")
        files = issue_files(public.loaded, settings)
        part = some_of(files, lambda one: one.slot, after=text_after(_ISSUES, after), limit=limit)
        return part_document(_ISSUES, part, _file)

    @routes.get(_ONE, response_model=documents.CheckedIssue, responses=answers(404, 409))
    async def show_issue(_: Reader, newsletter: NewsletterName, slot: SlotName) -> object:
        """An issue as it was understood, and what its checks find, the worst first."""
        return await turns.take(lambda: check_document(issues.looked_at(found(newsletter, slot), public.audience)))

    @routes.post(
        f"{_ONE}/approve",
        status_code=HTTPStatus.OK,
        response_model=documents.Approved,
        responses=answers(404, 409, body=True),
    )
    async def approve(token: Sender, newsletter: NewsletterName, slot: SlotName, asked: Approve) -> object:
        """Approves an issue as it is now; what changes afterwards needs a new approval."""
        said, source = one_line(asked.by), source_of(token)
        by = f"{said} ({source})" if said else source

        def approved() -> dict[str, object]:
            request = found(newsletter, slot)
            done = sending.approve(request, by, say, runs=public.ledger, people=public.audience)
            return {"run": str(done.run), "content_hash": done.rendered.content_hash, "by": by}

        return await turns.take(approved)

    return routes


def _file(one: IssueFile) -> dict[str, object]:
    return asdict(one) | {"date": one.date.isoformat()}


def _newsletter(public: Public, name: str, one: Newsletter) -> dict[str, object]:
    return {
        "name": name,
        "title": one.title,
        "language": one.language or public.loaded.settings.site.language,
        "lists": list(one.lists),
        "from": str(one.sender),
        "provider": one.delivery.provider,
        "public": one.public,
        "scheduled": one.schedule.enabled,
        "timezone": str(one.schedule.timezone),
        "require_approval": one.schedule.require_approval,
        "require_test": one.delivery.require_test,
    }
