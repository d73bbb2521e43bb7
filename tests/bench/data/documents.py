"""Writes the documents of the benchmark as JSON lines: the paragraphs of the books, and each one twice more with some
words replaced, as a crawl repeats its pages. Nearly all of the second kind are near duplicates of the first.

usage: documents.py OUT BOOK...
"""

import json
import pathlib
import random
import sys


def main(out: str, books: list[str]) -> None:
    draw = random.Random(1)
    with open(out, "w", encoding="utf-8") as lines:
        for replaced_share in (0.0, 0.01, 0.5):
            for book in books:
                text = pathlib.Path(book).read_text(encoding="utf-8")
                for paragraph in text.split("\n\n"):
                    words = paragraph.split(" ")
                    words = [str(draw.randrange(9999)) if draw.random() < replaced_share else word for word in words]
                    if paragraph.strip():
                        lines.write(json.dumps({"text": " ".join(words)}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
