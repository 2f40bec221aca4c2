"""Shipping labels as PDF: four by six inches, an address and a bar code."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from reportlab.graphics.barcode.code128 import Code128
from reportlab.lib.units import inch
from reportlab.pdfgen.canvas import Canvas

WIDTH, HEIGHT = 4 * inch, 6 * inch
MARGIN = 0.3 * inch
LONGEST_LINE = 34


class LabelError(ValueError):
    """The order cannot be printed; the message says what it lacks."""


@dataclass(frozen=True)
class Order:
    """What was sold in a show, and where it goes."""

    number: str
    buyer: str
    address: tuple[str, ...]
    items: tuple[str, ...] = ()


def render(order: Order) -> bytes:
    """Return the label as a PDF of one page; raises `LabelError`."""
    if not order.address:
        raise LabelError(f"order {order.number} has no address")
    page = BytesIO()
    canvas = Canvas(page, pagesize=(WIDTH, HEIGHT), invariant=True)
    canvas.setTitle(f"Label {order.number}")
    _write(canvas, "Helvetica-Bold", 18, HEIGHT - 0.7 * inch, ["Whatnot Autoprint"])
    _write(canvas, "Helvetica-Bold", 16, HEIGHT - 1.3 * inch, [order.buyer])
    _write(canvas, "Helvetica", 14, HEIGHT - 1.6 * inch, order.address)
    _write(canvas, "Helvetica", 9, HEIGHT - 3.1 * inch, order.items)
    Code128(order.number, barHeight=0.9 * inch, barWidth=1.4).drawOn(canvas, 0, 0.8 * inch)
    _write(canvas, "Courier", 12, 0.5 * inch, [order.number])
    canvas.save()
    return page.getvalue()


def _write(canvas: Canvas, font: str, size: int, top: float, lines: Sequence[str]) -> None:
    canvas.setFont(font, size)
    for number, line in enumerate(lines):
        canvas.drawString(MARGIN, top - number * size * 1.2, line[:LONGEST_LINE])
