"""The options that many commands have."""

from typing import Annotated

import typer

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        "--database-url",
        help="A server (CREDIT_SDK_API_KEY says who calls it) or a database; "
        "else CREDIT_SDK_URL, DATABASE_URL or API_BASE_URL.",
        show_default=False,
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        "--database-url",
        help="The database, postgresql://...; else CREDIT_SDK_URL or DATABASE_URL.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Credits = Annotated[str, typer.Argument(help="How many credits, such as 5 or 0.25.", show_default=False)]
Org = Annotated[str | None, typer.Option("--org", help="The organisation that pays.", show_default=False)]
RequestId = Annotated[
    str | None,
    typer.Option(
        "--request-id",
        help="The operation's own id: the same command with the same id does it once.",
        show_default=False,
    ),
]
