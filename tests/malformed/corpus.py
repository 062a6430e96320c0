"""Over a thousand malformed inputs for all readers and commands: files and options as people have.

Made here from a seed, the same for everybody. Each case says how it must end: `refused` in one
line, `noted` (done, and something was said of it), `done`, or `either` of the first and the last,
where bytes were changed by chance. What runs them is beside this file; `make malformed` prints how
many ended how.
"""

import gzip
import io
import json
import random
import struct
import wave
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

__all__ = ["RUNS", "Case", "cases"]

SEED = 13
ROWS = 40
LABELS = ("good", "bad")
SMALL = ("--hidden-size", "4", "--batch-size", "8", "--epochs", "0.05")

Content = bytes | str | None  # a file; what it is a link to; a folder


@dataclass(frozen=True)
class Case:
    """A command on files.

    name: What it is called.
    files: By their names in the folder where the command runs.
    arguments: After `unrolled`; "{tag}" stands for a trained run of that task.
    outcome: "refused", "noted", "done" or "either".
    says: What must be in what is said, in small letters.
    lines: How many lines must be on stdout where it is done; None for any number.
    stdin: What stands on the standard input.
    sparse: Files that are so many bytes long, and take no room.
    """

    name: str
    files: dict[str, Content]
    arguments: tuple[str, ...]
    outcome: str
    says: str = ""
    lines: int | None = None
    stdin: bytes = b""
    sparse: dict[str, int] = field(default_factory=dict)


# ---- what is well-formed ------------------------------------------------------------------------


def _text(n: int) -> str:
    return f"um {LABELS[n % 2]} café número {n}"


def _rows() -> list[dict[str, str]]:
    return [{"text": _text(n), "label": LABELS[n % 2]} for n in range(ROWS)]


def _csv() -> str:
    return "text,label\n" + "".join(f'"{row["text"]}",{row["label"]}\n' for row in _rows())


def _tabs(header: str = "text\tlabel\n") -> str:
    return header + "".join(f"{row['text']}\t{row['label']}\n" for row in _rows())


def _json_lines() -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _rows())


def _lines() -> str:
    return "".join(f"{_text(n)}\n" for n in range(ROWS))


def _ts() -> str:
    rows = "".join(f"{n}.5,2,3:4,5,{n % 7}:{LABELS[n % 2]}\n" for n in range(ROWS))
    return f"# é\n@problemName Test\n@classLabel true good bad\n@data\n{rows}"


def _long() -> str:
    rows = "".join(f"é{n},{t},{n * t}.5,{LABELS[n % 2]}\n" for n in range(ROWS) for t in range(3))
    return f"case,t,x,label\n{rows}"


def _wide() -> str:
    return "".join(f"{LABELS[n % 2]}é\t{n}\t{n % 3}.5\t-1e3\n" for n in range(ROWS))


def _conll() -> str:
    return "".join(f"Zé{n} B-PER\ncorre O\n\n" for n in range(ROWS))


def _conllu() -> str:
    filler = "\t_" * 4
    return "".join(
        f"# text = {n}\n1\tZé{n}\tzé\tPROPN\t_\t_{filler}\n2\tcorre\tcorrer\tVERB\t_\t_{filler}\n\n"
        for n in range(ROWS)
    )


def _token_lists() -> str:
    rows = [{"w": [f"Zé{n}", "corre"], "g": ["B-PER", "O"]} for n in range(ROWS)]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _token_table() -> str:
    return "s,w,g\n" + "".join(f"{n},Zé{n},B-PER\n,corre,O\n" for n in range(ROWS))


def _pairs() -> str:
    return "".join(f"I see {n} dogs\tJe vois né {n} chiens là\n" for n in range(ROWS))


def _pairs_csv() -> str:
    return "en,fr\n" + "".join(f"I see {n} dogs,Je vois né {n} chiens là\n" for n in range(ROWS))


def _captions() -> str:
    return "file\ttext\n" + "".join(f"{n % 4}.png\tuma cor {n} é\n" for n in range(ROWS))


def png(colour: tuple[int, int, int] = (200, 30, 30), size: int = 8) -> bytes:
    """Return a picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    rows = b"".join(b"\0" + bytes(colour) * size for _ in range(size))
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def wav(num_samples: int = 1600) -> bytes:
    """Return a recording of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 16_000, num_samples, "NONE", ""))
        writer.writeframes(b"\0\0" * num_samples)
    return file.getvalue()


PICTURES: dict[str, Content] = {
    f"{n}.png": png(colour)
    for n, colour in enumerate([(200, 0, 0), (0, 200, 0), (0, 0, 200), (90, 90, 90)])
}
_COLUMNS = ("--input", "text", "--target", "label")
_TOKENS = ("--word-column", "w", "--column", "g")
_TRANSLATE = ("--tokens", "word", "--embedding-size", "4")
_CAPTION = ("--media", "file", "--text", "text", "--picture-size", "8", "--channels", "8")


@dataclass(frozen=True)
class Reader:
    """How one format is read: the file, the rest of the folder, and the options of a training."""

    task: str
    file: str
    content: Callable[[], str]
    options: tuple[str, ...] = ()
    others: dict[str, Content] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    kind: str = "table"


READERS = [
    Reader("classify", "t.csv", _csv, _COLUMNS),
    Reader("classify", "t.tsv", _tabs, _COLUMNS),
    Reader("classify", "t.txt", _tabs, _COLUMNS),
    Reader("classify", "bare", lambda: _tabs(""), ("--input", "1", "--target", "2"), kind="bare"),
    Reader("classify", "t.jsonl", _json_lines, _COLUMNS, kind="json"),
    Reader(
        "classify", "one", _lines, others={"two": b"x y\n" * 9}, arguments=("two",), kind="lines"
    ),
    Reader("classify", "t.ts", _ts, kind="ts"),
    Reader("classify", "long.csv", _long, ("--id", "case", "--time", "t", "--target", "label")),
    Reader("classify", "wide.tsv", _wide, ("--wide", "--target", "1"), kind="bare"),
    Reader("tag", "t.conllu", _conllu, kind="conll"),
    Reader("tag", "t.txt", _conll, kind="conll"),
    Reader("tag", "t.jsonl", _token_lists, _TOKENS, kind="json"),
    Reader("tag", "t.csv", _token_table, (*_TOKENS, "--sentence", "s")),
    Reader("translate", "t.tsv", _pairs, _TRANSLATE, kind="bare"),
    Reader(
        "translate",
        "t.csv",
        _pairs_csv,
        (*_TRANSLATE, "--source-column", "en", "--target-column", "fr"),
    ),
    Reader(
        "translate",
        "t.en",
        _lines,
        _TRANSLATE,
        {"t.fr": _lines().encode()},
        ("t.fr",),
        kind="lines",
    ),
    Reader("caption", "t.tsv", _captions, _CAPTION, PICTURES),
    Reader("lm", "t.txt", lambda: _lines() * 9, ("--k1", "8"), kind="text"),
]

RUNS: dict[str, tuple[dict[str, Content], tuple[str, ...]]] = {
    "lm": ({"t.txt": (_lines() * 9).encode()}, ("t.txt", "--k1", "8")),
    "byte": ({"t.txt": (_lines() * 9).encode()}, ("t.txt", "--k1", "8", "--tokens", "byte")),
    "classify": ({"t.csv": _csv().encode()}, ("t.csv", *_COLUMNS, "--no-evidence")),
    "series": ({"t.ts": _ts().encode()}, ("t.ts",)),
    "wide": ({"t.tsv": _wide().encode()}, ("t.tsv", "--wide", "--target", "1")),
    "tag": ({"t.txt": _conll().encode()}, ("t.txt", "--embedding-size", "4")),
    "translate": ({"t.tsv": _pairs().encode()}, ("t.tsv", *_TRANSLATE)),
    "caption": ({"t.tsv": _captions().encode(), **PICTURES}, ("t.tsv", *_CAPTION)),
}
"""The runs that other commands are tried on: their files, and the arguments of their training."""

TASK_OF = {"byte": "lm", "series": "classify", "wide": "classify"}


# ---- what happens to files ----------------------------------------------------------------------

HTML = b"<!DOCTYPE html>\n<html><body>404 not found</body></html>\n"
PARQUET = b"PAR1" + bytes(range(64)) + b"PAR1"


def _insert(content: str, piece: bytes, chance: random.Random) -> bytes:
    data = content.encode()
    place = data.index(b"\n", chance.randrange(len(data) // 2))
    return data[:place] + piece + data[place:]


Damage = Callable[[str, random.Random], bytes]
DAMAGES: dict[str, tuple[Damage, str]] = {
    "empty": (lambda _c, _r: b"", "refused"),
    "a line end": (lambda _c, _r: b"\n", "refused"),
    "blanks": (lambda _c, _r: b"  \t \n \n", "refused"),
    "a byte order mark": (lambda _c, _r: b"\xef\xbb\xbf", "refused"),
    "NUL": (lambda c, r: _insert(c, b"\0", r), "refused"),
    "a byte of latin-1": (lambda c, r: _insert(c, b"\xe9", r), "refused"),
    "a byte that is never UTF-8": (lambda c, r: _insert(c, b"\xff", r), "refused"),
    "half a surrogate pair": (lambda c, r: _insert(c, b"\xed\xa0\xbd", r), "refused"),
    "an overlong character": (lambda c, r: _insert(c, b"\xc0\xaf", r), "refused"),
    "cut in a character": (lambda c, _r: c.encode() + b"\xc3", "refused"),
    "latin-1": (lambda c, _r: c.encode("latin-1"), "refused"),
    "utf-16": (lambda c, _r: c.encode("utf-16"), "refused"),
    "utf-16 without a mark": (lambda c, _r: c.encode("utf-16-le"), "refused"),
    "utf-32": (lambda c, _r: c.encode("utf-32"), "refused"),
    "random bytes": (lambda _c, r: r.randbytes(2000), "refused"),
    "a picture": (lambda _c, r: png() + r.randbytes(99), "refused"),
    "half a gzip file": (lambda c, _r: gzip.compress(c.encode())[:-9], "refused"),
    "no gzip file": (lambda _c, r: b"\x1f\x8b" + r.randbytes(99), "refused"),
    "lines of Windows": (lambda c, _r: c.replace("\n", "\r\n").encode(), "done"),
    "lines of old Macs": (lambda c, _r: c.replace("\n", "\r").encode(), "done"),
    "a mark before the text": (lambda c, _r: b"\xef\xbb\xbf" + c.encode(), "done"),
    "no last line end": (lambda c, _r: c.rstrip("\n").encode(), "done"),
    "packed": (lambda c, _r: gzip.compress(c.encode()), "done"),
}
# A whole text, and lines of texts, are text whatever is in them
EXCEPTIONS = {
    ("a line end", "text"): "refused",
    ("lines of Windows", "text"): "done",
    ("lines of old Macs", "conll"): "done",
}


def _train(reader: Reader, content: bytes, name: str, outcome: str, *more: str) -> Case:
    files = {**reader.others, reader.file: content}
    arguments = ("train", reader.task, reader.file, *reader.arguments, *reader.options, *more)
    return Case(
        f"train {reader.task} {reader.file}: {name}",
        files,
        (*arguments, *SMALL, "--run", "run"),
        outcome,
    )


def _damaged(chance: random.Random) -> Iterator[Case]:
    for reader in READERS:
        good = reader.content()
        for name, (damage, outcome) in DAMAGES.items():
            outcome = EXCEPTIONS.get((name, reader.kind), outcome)
            yield _train(reader, damage(good, chance), name, outcome)
        missing = _train(reader, b"", "missing", "refused")
        del missing.files[reader.file]
        yield missing
        folder = _train(reader, b"", "a folder", "refused")
        folder.files[reader.file] = None
        yield folder
        loop = _train(reader, b"", "a link to itself", "refused")
        loop.files[reader.file] = reader.file
        yield loop
        huge = _train(reader, b"", "beyond memory", "refused")
        huge.sparse[reader.file] = 2**42
        yield huge
        yield _train(reader, good.encode(), "UTF-8 as latin-1", "refused", "--encoding", "latin-1")
        yield _train(reader, good.encode(), "UTF-8 as utf-16", "refused", "--encoding", "utf-16")
        yield _train(reader, good.encode(), "as hex", "refused", "--encoding", "hex")


def _changed(chance: random.Random) -> Iterator[Case]:
    """Yield files in which bytes are changed, cut or doubled by chance, and remain ASCII."""
    for reader in READERS:
        good = reader.content().encode("ascii", "ignore")
        for number in range(4):
            data = bytearray(good)
            for _ in range(1 + number):
                data[chance.randrange(len(data))] = chance.choice(b'\n\t,"#;: 0a-\r{[')
            if number == 3:
                del data[chance.randrange(len(data) // 2, len(data)) :]
            yield _train(reader, bytes(data), f"bytes by chance, {number}", "either")


# ---- what tables may hold -----------------------------------------------------------------------

JSON_VALUES = {
    "null": "null",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "a list": '["a", "b"]',
    "an object": '{"a": 1}',
    "true": "true",
    "a number": "1.0",
    "a long number": "9" * 5000,
    "1e400": "1e400",
    "half a pair": '"half \\ud83d"',
    "the other half": '"\\udc4d half"',
    "NUL": '"a\\u0000b"',
    "deep": "[" * 100_000 + "]" * 100_000,
    "an escape": '"\\u001b[2J"',
    "a separator": '"a\\u2028b\\u0085c"',
    "a long text": json.dumps("word " * 50_000),
}
_BAD_TEXT = {
    "a list",
    "an object",
    "true",
    "a number",
    "a long number",
    "1e400",
    "Infinity",
    "deep",
}
_BAD_LABEL = {"a list", "an object", "a long number", "deep", "Infinity", "1e400"}
_LEFT_OUT = {"null", "NaN"}


def _values(_chance: random.Random) -> Iterator[Case]:
    for name, value in JSON_VALUES.items():
        row = f'{{"text": {value}, "label": "good"}}\n'
        outcome = "refused" if name in _BAD_TEXT else "noted" if name in _LEFT_OUT else "done"
        yield _train(READERS[4], (_json_lines() + row).encode(), f"text is {name}", outcome)
        row = f'{{"text": "a text", "label": {value}}}\n'
        outcome = "refused" if name in _BAD_LABEL else "noted" if name in _LEFT_OUT else "done"
        content = (_json_lines() + row * 9).encode()
        yield _train(READERS[4], content, f"label is {name}", outcome)
        row = f'{{"w": {value}, "g": ["O"]}}\n'
        yield _train(READERS[11], (_token_lists() + row).encode(), f"words are {name}", "refused")


TABLES = {
    "only a header": ("text,label\n", "refused"),
    "one row": ("text,label\na,b\n", "refused"),
    "one class": ("text,label\n" + "a b,x\n" * 30, "refused"),
    "no such column": (_csv().replace("label", "lable", 1), "refused"),
    "two columns of one name": (_csv().replace("text,", "label,", 1), "refused"),
    "quotes that do not end": (_csv() + '"never ends,good\n', "refused"),
    "a quote inside": (_csv() + 'a "b" c,good\n', "done"),
    "text after a quote": (_csv() + '"a"b,good\n', "refused"),
    "a field too many": (_csv() + "a,b,good\n", "refused"),
    "a field too few": (_csv() + "alone\n", "refused"),
    "empty further fields": (_csv() + "a,good,,\n", "done"),
    "columns without a name": (_csv().replace("label\n", "label,,\n", 1), "refused"),
    "numbers for classes": (
        "text,label\n" + "".join(f"text {n},{n * 7}.5\n" for n in range(60)),
        "refused",
    ),
    "texts for classes": ("text,label\n" + "".join(f"a {n},b {n}\n" for n in range(60)), "refused"),
    "rows without a class": (_csv() + "no class,\n" * 3, "noted"),
    "rows without a text": (_csv() + ",good\n" * 3, "noted"),
    "a field of a megabyte": (_csv() + f"{'word ' * 200_000},good\n", "noted"),
    "ten thousand columns": ("text,label" + ",x" * 10_000 + "\n" + "a,b\n", "refused"),
    "only delimiters": (",,,,\n" * 40, "refused"),
    "the header again": (_csv() + "text,label\n", "either"),
}

LONG = {
    "a word for a number": ("case,t,x,label\n1,1,abc,a\n", "refused"),
    "infinity": (_long() + "9,9,inf,good\n", "refused"),
    "1e400": (_long() + "9,9,1e400,good\n", "refused"),
    "no case": (_long() + ",9,1,good\n", "refused"),
    "no time": (_long() + "9,,1,good\n", "refused"),
    "times in two ways": (_long() + "new,1,1,good\nnew,2024-01-01,1,good\n", "refused"),
    "a time twice": (_long() + "new,1,1,good\nnew,1,2,good\n", "refused"),
    "two classes of a case": (_long() + "new,1,1,good\nnew,2,2,bad\n", "refused"),
    "a number that is missing": (_long() + "new,1,?,good\n", "noted"),
    "a case without a class": (_long() + "new,1,1,\n", "noted"),
}

SERIES = {
    "no header": ("1,2,3:a\n4,5,6:b\n", "refused"),
    "only a header": ("@classLabel true a b\n@data\n", "refused"),
    "no classes": ("@classLabel false\n@data\n1,2\n", "refused"),
    "numbers for classes": ("@targetLabel true\n@data\n1,2:3\n", "refused"),
    "another number of dimensions": (_ts() + "1,2,3:good\n", "refused"),
    "dimensions of other lengths": (_ts() + "1,2,3:4,5:good\n", "refused"),
    "a word": (_ts() + "1,x,3:4,5,6:good\n", "refused"),
    "infinity": (_ts() + "1,inf,3:4,5,6:good\n", "refused"),
    "an unknown class": (_ts() + "1,2,3:4,5,6:ugly\n", "refused"),
    "time stamps": (_ts() + "(0,1),(1,2):good\n", "refused"),
    "an empty case": (_ts() + "::good\n", "noted"),
    "missing numbers": (_ts() + "?,NaN,3:4,5,6:good\n", "noted"),
}

CONLL = {
    "one column": ("Ana\nfala\n\n", "refused"),
    "a column too few": (_conll() + "Ana\n", "refused"),
    "a column too many": (_conll() + "Ana O O\n", "refused"),
    "one tag": ("Ana O\nfala O\n\n" * 30, "refused"),
    "no empty lines": ("Ana O\nfala B-X\n" * 3000, "refused"),
    "comments": ("# id 7\tdomain=en\n" + _conll(), "done"),
    "only comments": ("# nothing\n# here\n", "refused"),
    "document starts": ("-DOCSTART- -X-\n\n" + _conll(), "noted"),
    "a byte order mark inside": (_conll() + "\ufeffAna O\n", "done"),
}

PAIRS = {
    "no tab": (_pairs() + "alone\n", "refused"),
    "an empty side": (_pairs() + "a\t\n\tb\n", "noted"),
    "a long side": (_pairs() + "a\t" + "b" * 1000 + "\n", "noted"),
    "a third column": (_pairs().replace("\n", "\tx\n"), "done"),
    "one pair": ("a\tb\n", "refused"),
    "one source": ("a\tb\n" * 40, "refused"),
}


def _formats(_chance: random.Random) -> Iterator[Case]:
    by_reader = {0: TABLES, 7: LONG, 6: SERIES, 10: CONLL, 13: PAIRS}
    for index, contents in by_reader.items():
        for name, (content, outcome) in contents.items():
            yield _train(READERS[index], content.encode(), name, outcome)
    for file in ("t.parquet", "t.pq", "t.xlsx", "t.json"):
        for name, content in {"no table": PARQUET, "text": b"text,label\n", "empty": b""}.items():
            arguments = ("train", "classify", file, *_COLUMNS, *SMALL, "--run", "run")
            yield Case(f"train classify {file}: {name}", {file: content}, arguments, "refused")
    folder: dict[str, Content] = {
        f"d/{label}/{n}.txt": f"a text, number {n}\n".encode()
        for label in LABELS
        for n in range(20)
    }
    for name, more, outcome in (
        ("whole", {}, "done"),
        ("a binary file", {"d/good/x.txt": b"\0\1\2"}, "refused"),
        ("latin-1", {"d/good/x.txt": b"caf\xe9"}, "refused"),
        ("an empty file", {"d/good/x.txt": b""}, "noted"),
        ("files beside", {"d/README": b"\xff"}, "noted"),
        ("an empty class", {"d/none": None}, "refused"),
        ("a link to itself", {"d/good/x.txt": "x.txt"}, "done"),
    ):
        arguments = ("train", "classify", "d", *SMALL, "--run", "run")
        yield Case(f"train classify d/: {name}", folder | more, arguments, outcome)
    for name, content in {"of files": {"d/a.txt": b"a"}, "of nothing": {"d": None}}.items():
        arguments = ("train", "classify", "d", *SMALL, "--run", "run")
        yield Case(f"train classify d/: a folder {name}", dict(content), arguments, "refused")


# ---- media --------------------------------------------------------------------------------------

MEDIA: dict[str, bytes] = {
    "empty.jpg": b"",
    "page.jpg": HTML,
    "photo.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 50,
    "photo.jpg": b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + b"\0" * 50,
    "memo.m4a": b"\0\0\0\x20ftypM4A \0\0\0\0" + b"\0" * 100,
    "film.mp4": b"\0\0\0\x20ftypisom\0\0\2\0" + b"\0" * 100,
    "film.webm": b"\x1a\x45\xdf\xa3" + b"\1" * 300,
    "film.avi": b"RIFF\0\0\0\0AVI LIST" + b"\0" * 50,
    "a.wma": b"0&\xb2u\x8ef\xcf\x11" + b"\0" * 50,
    "a.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "a.pdf": b"%PDF-1.7\n",
    "a.zip": b"PK\x03\x04" + b"\0" * 50,
    "cut.png": png()[:40],
    "no.png": b"\x89PNG\r\n\x1a\n",
    "wide.png": png()[:16] + struct.pack(">II", 2**31 - 1, 2**31 - 1) + png()[24:],
    "cut.wav": wav()[:200],
    "no.wav": b"RIFF\0\0\0\0WAVE",
    "short.wav": wav(3),
    "none.wav": wav(0),
    "sound.wav": wav(),
    "noise.bin": bytes(range(256)) * 9,
    "text.jpg": b"just text\n",
}


def _media(_chance: random.Random) -> Iterator[Case]:
    for name, content in MEDIA.items():
        files = {**PICTURES, name: content}
        table = (_captions() + f"{name}\tcom palavras\n").encode()
        reader = READERS[16]
        yield _with(_train(reader, table, f"a row of {name}", "refused"), files)
        if name != "sound.wav":  # a recording among pictures is no bad file
            left_out = _train(reader, table, f"a row of {name} passed", "noted", "--skip-bad")
            yield _with(left_out, files)
        yield Case(f"predict caption {name}", files, ("predict", "{caption}", name), "refused")
        listed = {**files, "list.txt": f"0.png\n{name}\n1.png\n".encode()}
        arguments = ("predict", "{caption}", "list.txt", "--skip-bad")
        yield Case(f"predict caption a list with {name}", listed, arguments, "done", lines=3)
    for name, content in {
        "a path that is missing": b"0.png\nlost.png\n",
        "an empty line": b"0.png\n\n1.png\n",
        "a path with NUL": b"0.png\na\0b.png\n",
        "a long path": b"a" * 5000 + b"\n",
        "a folder": b".\n",
        "latin-1": b"caf\xe9.png\n",
        "joined pictures": b"0.png;1.png\n",
        "half a join": b"0.png;\n",
    }.items():
        files = {**PICTURES, "list.txt": content}
        arguments = ("predict", "{caption}", "list.txt")
        yield Case(f"predict caption a list of {name}", files, arguments, "refused")


def _with(case: Case, files: dict[str, Content]) -> Case:
    case.files.update(files)
    return case


# ---- other commands -----------------------------------------------------------------------------

EVALUATED = {
    "lm": ("t.txt", lambda: _lines() * 9),
    "classify": ("t.csv", _csv),
    "series": ("t.ts", _ts),
    "wide": ("t.tsv", _wide),
    "tag": ("t.txt", _conll),
    "translate": ("t.tsv", _pairs),
}


def _measured(chance: random.Random) -> Iterator[Case]:
    for run, (file, content) in EVALUATED.items():
        for name, (damage, outcome) in DAMAGES.items():
            data = damage(content(), chance)
            arguments = ("evaluate", f"{{{run}}}", file)
            case = Case(f"evaluate {run}: {name}", {file: data}, arguments, outcome)
            if run == "lm" and name in ("lines of Windows", "lines of old Macs"):
                case = Case(case.name, case.files, arguments, "refused")  # an unknown character
            yield case


LINES = {
    "empty": (b"", 0, "done"),
    "a line end": (b"\n", 1, "done"),
    "empty lines": (b"\n\n\n", 3, "done"),
    "no last line end": (b"um bom\ncaf\xc3\xa9", 2, "done"),
    "half a surrogate pair": (b"a \xed\xa0\xbd\n", 0, "refused"),
    "latin-1": (b"caf\xe9\n", 0, "refused"),
    "utf-16": ("café\n".encode("utf-16"), 0, "refused"),
    "a byte order mark": (b"\xef\xbb\xbfum bom\n", 1, "done"),
    "unknown words": ("क्या 漢字 👩‍👩‍👧 \u200b\n".encode(), 1, "done"),
    "only marks": ("\u0301\u0301\n".encode(), 1, "done"),
}


def _predicted(_chance: random.Random) -> Iterator[Case]:
    for run in ("classify", "tag", "translate", "byte"):
        for name, (content, lines, outcome) in LINES.items():
            for source in ("in.txt", "-"):
                arguments = ("predict", f"{{{run}}}", source, "--json")
                count = lines if outcome == "done" else None
                yield Case(
                    f"predict {run} {source}: {name}",
                    {"in.txt": content},
                    arguments,
                    outcome,
                    lines=count,
                    stdin=content,
                )
    for run, content, outcome in (
        ("series", b"1,2,3:4,5,6\n", "done"),
        ("series", b"1,2,3\n", "refused"),
        ("series", b"1,x:2,3\n", "refused"),
        ("series", b"a text\n", "refused"),
        ("series", b"1,2:3\n", "refused"),
        ("wide", b"1,2,3\n", "done"),
        ("wide", b"abc\n", "refused"),
    ):
        files = {"in.txt": content}
        arguments = ("predict", f"{{{run}}}", "in.txt")
        yield Case(f"predict {run}: {content!r}", files, arguments, outcome)
    for run in RUNS:
        arguments = ("predict", f"{{{run}}}", "lost.txt")
        yield Case(f"predict {run}: missing", {}, arguments, "refused")
        files: dict[str, Content] = {"in.txt": b"1,2,3\n"}
        arguments = ("predict", f"{{{run}}}", "in.txt", "--encoding", "none-such")
        yield Case(f"predict {run}: no encoding", files, arguments, "refused")
    files = {"t.jsonl": b'{"text": "half \\ud83d"}\n'}
    for more in ((), ("--json",)):
        arguments = ("predict", "{classify}", "t.jsonl", *more)
        yield Case(f"predict classify half a pair {more}", files, arguments, "done", lines=1)


OPTIONS: dict[str, tuple[str, ...]] = {
    "a hidden size of 10^9": ("--hidden-size", "1000000000"),
    "10^15 parameters": ("--parameters", "1000000000000000"),
    "10^18 parameters": ("--parameters", str(10**18)),
    "a hidden size of 10^19": ("--hidden-size", str(10**19)),
    "a hidden size of 2^62": ("--hidden-size", str(2**62)),
    "a hidden size of 0": ("--hidden-size", "0"),
    "no number": ("--hidden-size", "many"),
    "a learning rate that is NaN": ("--learning-rate", "nan"),
    "an infinite learning rate": ("--learning-rate", "inf"),
    "a batch of 0": ("--batch-size", "0"),
    "a dropout of 1": ("--dropout", "1"),
    "a cell that is unknown": ("--cell", "lstn"),
    "a cell of no file": ("--cell", "none.py:cell"),
    "nothing held out, a figure to choose by": ("--held-out", "0", "--select", "loss"),
    "all held out": ("--held-out", "0.999999"),
    "no such option": ("--hiden-size", "4"),
    "a seed of 2^70": ("--seed", str(2**70)),
    "-1 layers": ("--layers", "-1"),
}


def _options(_chance: random.Random) -> Iterator[Case]:
    for index in (0, 10, 13, 16, 17):
        reader = READERS[index]
        for name, more in OPTIONS.items():
            small = [each for each in SMALL if not set(more) & {each}]
            arguments = ("train", reader.task, reader.file, *reader.arguments, *reader.options)
            kept = small if len(small) == len(SMALL) else [*SMALL[4:]]
            files = {**reader.others, reader.file: reader.content().encode()}
            yield Case(
                f"train {reader.task}: {name}",
                files,
                (*arguments, *kept, *more, "--run", "run"),
                "refused" if name != "a seed of 2^70" else "either",
            )


RUN_FILES = ("config.json", "vocabulary.json", "weights.safetensors")
RUN_DAMAGES: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "deep": b"[" * 200_000,
    "latin-1": b'{"caf\xe9": 1}',
    "NUL": b"\0" * 100,
    "an object": b"{}",
}


def _runs(_chance: random.Random) -> Iterator[Case]:
    for file in RUN_FILES:
        for name, content in RUN_DAMAGES.items():
            files: dict[str, Content] = {f"broken/{file}": content, "in.txt": b"um\n"}
            yield Case(
                f"predict with {file}: {name}",
                files,
                ("predict", "broken:{lm}", "in.txt"),
                "refused",
            )
    for command in (("generate",), ("evaluate",), ("predict",), ("inspect",), ("resume",)):
        for name in ("none", "a\x01b", "in.txt"):
            rest = () if command[0] in ("generate", "inspect", "resume") else ("in.txt",)
            files = {"in.txt": b"um\n"}
            yield Case(f"{command[0]} {name!r}", files, (*command, name, *rest), "refused")
    for name, more in {
        "an unknown prompt": ("--prompt", "漢字"),
        "half a pair": ("--prompt", "a\ud83d"),
        "a length of -1": ("--length", "-1"),
        "no number": ("--length", "many"),
        "a temperature of NaN": ("--temperature", "nan"),
        "a temperature of -1": ("--temperature", "-1"),
    }.items():
        yield Case(f"generate: {name}", {}, ("generate", "{lm}", *more), "refused")
    yield Case("generate with a translator", {}, ("generate", "{translate}"), "refused")


def cases() -> list[Case]:
    """Return all cases, the same at every call."""
    chance = random.Random(SEED)
    makers = (
        *(_damaged, _changed, _values, _formats, _media),
        *(_measured, _predicted, _options, _runs),
    )
    return [case for maker in makers for case in maker(chance)]
