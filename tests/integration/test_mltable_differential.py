"""Small tables read by us and by the `mltable` package: equal, or the difference is a named row of the compatibility table.

Two things count as equal everywhere: a column that is null throughout has a type here (rows of later mini-batches have the same
one) and is an object column of None there; and an index that pandas wrote into a Parquet file stays a column here, since `run`
gets a fresh RangeIndex.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner.errors import UserError
from runner.inputs.source import open_source
from runner.model.job import JobInput, Step

pd = pytest.importorskip("pandas")
pytestmark = [
    pytest.mark.needs("mltable"),
    pytest.mark.filterwarnings("ignore"),  # of the mltable package and what it imports
]

TYPES = "Types of a table"
CONVERT = "`convert_column_types`, `mismatch_as: error`"
PARTITION = "Partition format"
FILTER = "`filter`"
COMPRESSED = "`.gz`, `.bz2`, `.zst` text"
UNITED = "Readers that unite columns by name"

CASE = "`ignore_case` of column patterns"  # documented, without effect in mltable

Data = str | bytes | pa.Table


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    files: dict[str, Data]
    transformations: str
    paths: str = "pattern: ./**/*.*"
    row: str = ""  # of the compatibility table, where we differ
    ours: Any = None  # what we give then: columns, or a piece of the message


CASES: list[Case] = []


def text(name: str, data: Data | dict[str, Data], options: str = "", steps: str = "", **more: Any) -> None:
    files = data if isinstance(data, dict) else {"a.csv": data}
    reader = "- read_delimited:\n    delimiter: ','\n" + "".join(f"    {line}\n" for line in options.splitlines())
    CASES.append(Case(name=name, files=files, transformations=reader + steps, **more))


def column(name: str, values: list[str], **more: Any) -> None:
    """One column of tab-separated cells, beside one that tells the rows apart."""
    data = "x\tn\n" + "".join(f"{value}\t{number}\n" for number, value in enumerate(values, 5))
    CASES.append(Case(name=f"type: {name}", files={"a.tsv": data}, transformations='- read_delimited:\n    delimiter: "\\t"\n', **more))


def lines(name: str, data: Data | dict[str, Data], options: str = "", steps: str = "", **more: Any) -> None:
    files = data if isinstance(data, dict) else {"a.jsonl": data}
    reader = f"- read_json_lines:\n    {options}\n" if options else "- read_json_lines\n"
    CASES.append(Case(name=f"json: {name}", files=files, transformations=reader + steps, **more))


def parquet(name: str, data: pa.Table | dict[str, Data], options: str = "", steps: str = "", **more: Any) -> None:
    files = data if isinstance(data, dict) else {"a.parquet": data}
    reader = f"- read_parquet:\n    {options}\n" if options else "- read_parquet\n"
    CASES.append(Case(name=f"parquet: {name}", files=files, transformations=reader + steps, **more))


def T(value: str) -> Any:
    return pd.Timestamp(value)


# Types of columns

column("0 and 1", ["1", "0"])
column("only 1", ["1", "1"])
column("true and 0", ["true", "0"])
column("t and f", ["t", "F"])
column("words", ["TRUE", "False"])
column("blanks around truth", [" true", "false "])
column("yes and no", ["yes", "no"])
column("0 1 2", ["0", "1", "2"])
column("leading zeros", ["007", "1"])
column("plus", ["+1", "2"])
column("blanks around numbers", [" 1 ", "2 "])
column("ends of int64", ["9223372036854775807", "-9223372036854775808"])
column("beyond int64", ["9223372036854775808", "1"])
column("decimals", ["1", "1.5"])
column("exponents", ["1e3", "2E-3"])
column("dots", [".5", "5."])
column("inf and nan", ["inf", "nan", "-Infinity", "1"])
column("thousands", ["1,000", "2"])
column("underscores", ["1_000", "2"])
column("hexadecimal", ["0x10", "1"])
column("percent", ["5%", "1"])
column("words for null", ["NA", "null", "1"])
column("int with null", ["1", "", "2"])
column("truth with null", ["1", ""])
column("text with null", ["", "x"])
column("nothing", ["", ""])
column("blank", [" ", "1"])
column("quoted nothing", ['""', "x"])
column("quoted nothing and number", ['""', "5"])
column("quoted numbers", ['"1"', '"2"'])
column("ISO dates", ["2020-01-02", "2020-1-2", "2020/01/02"])
column("ISO times", ["2020-01-02 03:04:05", "2020-01-02T03:04:05.123456", "2020-01-02"])
column("zones", ["2020-01-02T03:04:05Z", "2020-01-02T03:04:05+02:00", "2020-01-02 03:04:05 +0200", "2020-01-02 03:04:05 UTC"])
column("nanoseconds", ["2020-01-02T03:04:05.123456789Z"])
column("without seconds", ["2020-01-02 03:04"])
column("months by name", ["2-Jan-2020", "02-jan-2020", "2/JAN/2020"])
column("months by name, short years", ["2-Jan-20", "02-jan-20"])
column("short and long years", ["2-Jan-2020", "2-Jan-20"], row=TYPES, ours={"x": [T("2020-01-02")] * 2, "n": [5, 6]})
column("day first", ["13/1/2020", "1/2/2020"])
column("month first", ["1/13/2020", "1/2/2020", "1-13-20"])
column("AM and PM", ["1/13/2020 3:04 PM", "1/13/2020 03:04:05 AM", "1/13/2020 15:04"])
column("two-digit years", ["12/13/69", "12/13/70"])
column("dates of both orders", ["13/1/2020", "1/13/2020"])
column("dates mixed", ["2020-01-02", "1/13/2020", "2-Jan-20"])
column("date and null", ["2020-01-02", ""])
column("date and word", ["2020-01-02", "x"])
column("date and number", ["2020-01-02", "1"])
column("no such day", ["2020-02-30", "2020-01-01"])
column("dots in dates", ["31.12.2020", "1.12.2020"])
column("compact dates", ["20200102", "20200103"])
column("mixed truth and number", ["true", "2"])
column("non-ASCII digits", ["٣", "x"])
column("ambiguous dates", ["1/2/2020", "3/4/2020"], row=TYPES, ours={"x": ["1/2/2020", "3/4/2020"], "n": [5, 6]})
column("ambiguous beside ISO", ["1/2/2020", "2020-01-02"], row=TYPES, ours={"x": ["1/2/2020", "2020-01-02"], "n": [5, 6]})
column("year 1600", ["1600-01-01", "2020-01-01"], row=TYPES, ours={"x": ["1600-01-01", "2020-01-01"], "n": [5, 6]})
column("00 and 01", ["00", "01"], row=TYPES, ours={"x": [0, 1], "n": [5, 6]})
column("13/1/20", ["13/1/20"], row=TYPES, ours={"x": [T("2020-01-13")], "n": [5]})
column("late word in int", [*["7"] * 200, "abc"], row=TYPES, ours="a.tsv:202: column 'x': 'abc' is not a whole number")
column("late decimal in int", [*["7"] * 200, "5.5"], row=TYPES, ours="a.tsv:202: column 'x': '5.5' is not a whole number")
column("late number in truth", [*["1"] * 200, "5"], row=TYPES, ours="a.tsv:202: column 'x': '5' is not true or false")
column("word in row 200", [*["7"] * 199, "abc"])
column("late value after nothing", [*[""] * 200, "5"])
column("late null in int", [*["7"] * 200, ""])

# Delimited text

SPREAD = {"1.csv": "a,b\n1,2\n3,4\n", "2.csv": "b,c\n5,6\n"}
text("plain", "a,b\n1,x\n2,y\n")
text("no line break at the end", "a,b\n1,x\n2,y")
text("header names", " a , b,,a,a\n5,6,7,8,9\n")
text("numbered names", "a,a_1,a,a,b,b\n5,6,7,8,9,10\n")
text("quoted header", '"x y","a,b"\n5,6\n')
text("short rows", "a,b,c\n5\n6,7\n8,9,10\n")
text("long rows", "a,b\n5,6\n5,6,7,8\n")
text("blank lines", "\n\na,b\n\n5,6\n\n\n7,8")
text("byte order mark", b"\xef\xbb\xbfa,b\n5,6\n")
text("CRLF", b"a,b\r\n5,x\r\n6,y\r\n")
text("lone CR", b"a,b\n5\r2,x\n")
text("quotes", 'a,b\n"x""y",""""\n"a,b",\n"","x"\n')
text("text behind a quote", 'a,b\n"x"y"z,y\n"c"x,"d"\n')
text("blank before a quote", 'a,b\n "x",5\n"x" ,6\n')
text("unclosed quote", 'a,b\n"x,y\n5,6\n')
text("quoted newline, single line", 'a,b\n"x\ny",2\n3,4\n')
text("quoted newline at the end, single line", 'a,b\nz,"x\ny"\n3,4\n')
text("quoted newline, multi-line", 'a,b\n"x\ny",2\n"p\n\nq",4\n', "support_multi_line: true")
text("quoted CRLF, multi-line", b'a,b\r\n"x\r\ny",2\r\n3,4\r\n', "support_multi_line: true")
text("no header", "1,2\n3,4,5\n", "header: no_header")
for each in ("no_header", "from_first_file", "all_files_same_headers", "all_files_different_headers"):
    text(f"two files, {each}", SPREAD, f"header: {each}")
text("second file wider", {"1.csv": "a,b\n5,6\n", "2.csv": "b,c,d\n7,8,9\n"})
text("an empty file among others", {"1.csv": "", "2.csv": "a\n5\n", "3.csv": "a\n"})
text("empty as string", "a,b,c\n5,x,\n,,\n6,y,\n", "empty_as_string: true")
text("no inference", 'a,b,c\n1,,""\n', "infer_column_types: false")
text("sample of two rows", "a\n5\n6\n7\n", "infer_column_types: {sample_size: 2}")
text("override", "a,b,c\n1,x,2\n2,y,3\n", "infer_column_types: {column_type_overrides: [{columns: [a, c], column_type: string}]}")
text("override float", "a\n5\n6\n", "infer_column_types: {column_type_overrides: [{columns: a, column_type: float}]}")
text(
    "override boolean",
    "a\nyes\nno\n\n",
    "infer_column_types: {column_type_overrides: [{columns: a, column_type: {boolean: {true_values: ['yes'], false_values: ['no']}}}]}",
)
text(
    "override datetime",
    "a\n1/2/2020\n13/2/2020\n",
    "infer_column_types: {column_type_overrides: [{columns: a, column_type: {datetime: {formats: '%d/%m/%Y'}}}]}",
)
text("latin1", "a,b\né,5\n".encode("latin1"), "encoding: latin1")
text("windows1252", "a,b\n€,5\n".encode("cp1252"), "encoding: windows1252")
text("utf16", "a,b\né,5\n".encode("utf-16"), "encoding: utf16")
text("ascii with UTF-8 in it", "a,b\né,5\n", "encoding: ascii")
text("path column", {"x/1.csv": "a\n5\n", "y/2.csv": "a\n6\n"}, "include_path_column: true")
text("hidden files", {".h/_a.csv": "a\n5\n", "b.csv": "a\n6\n", "B.csv": "a\n7\n"})
text("one file twice", {"a.csv": "a\n5\n"}, paths="file: ./a.csv}, {file: ./a.csv")
CASES.append(Case(name="two characters", files={"a.csv": "a||b\n5||6\n"}, transformations='- read_delimited:\n    delimiter: "||"\n'))
CASES.append(Case(name="bare reader", files={"a.csv": "a,b\n5,6\n"}, transformations="- read_delimited\n"))
text("header only", "a,b\n", row=TYPES, ours={"a": [], "b": []})
text("wrong encoding", b"a,b\n\xff,5\n6,7\n", row=TYPES, ours="is not UTF-8 text")

# Steps

TEN = "a,b\n" + "".join(f"{number},x{number}\n" for number in range(10))
SHOP = {"s=1/b=x/f.csv": "a\n5\n", "s=2/b=y/f.csv": "a\n6\n", "s=2/b=z/g.csv": "a\n7\n"}
MIXED = "i,f,s,b,d,n\n1,1.5,a,true,2020-01-01,\n2,2.5,b,false,2020-01-02,5\n3,3.0,a b,true,2020-01-03,6\n"
PATH = "include_path_column: true"
for each in (
    "take: 3", "skip: 7", "keep_columns: [b, zz]", "drop_columns: a", "keep_columns: [b, a]",
    "keep_columns: {pattern: '^a'}", "drop_columns: {pattern: a, invert: true}",
):  # fmt: skip
    text(each, TEN, steps=f"- {each}\n")
text("ignore case", TEN, steps="- keep_columns: {pattern: '^A', ignore_case: true}\n", row=CASE, ours={"a": list(range(10))})
text("skip, take", TEN, steps="- skip: 2\n- take: 3\n")
text("take, skip", TEN, steps="- take: 5\n- skip: 4\n")
text("filter, take", TEN, steps="- filter: 'a > 4'\n- take: 2\n")
text("take over files", {"1.csv": TEN, "2.csv": TEN}, steps="- skip: 8\n- take: 5\n")
for each in (
    'col("i") > 1', "i / 2 == 1.5", "i % 2 == 1", "-3 % 2 == i", "i ** 2 == 9", '(i > 1) and (s == "b")', "not (i > 1)", "not (n == 5)",
    "n == 5 or i == 1", 'col("d") >= datetime(2020,1,2)', 's.startswith("a")', "b", "not b", "b == True", "i == f", "i + f > 4",
    's + "x" == "ax"', "-i == -1", 's > "a"', "n != 5", "n + 1 == 6", "True", "i * f == 9", "not i == 1",
):  # fmt: skip
    text(f"filter {each}", MIXED, steps=f"- filter: {json.dumps(each)}\n")
text("filter by another type", MIXED, steps="- filter: 'd > \"2020-01-01\"'\n", row=FILTER, ours="a date is compared with text")
text("filter chained", MIXED, steps="- filter: '1 < i < 3'\n", row=FILTER, ours="cannot be chained")
for target in ("int", "float", "string", "boolean"):
    text(f"numbers to {target}", "x,y\n5,1.6\n0,-2.5\n,\n", steps=f"- convert_column_types: [{{columns: [x, y], column_type: {target}}}]\n")
    text(
        f"texts to {target}",
        "x,n\n1,2\n0,3\n,4\n" if target == "boolean" else "x,n\n1,2\n 5 ,3\n-1.6,4\n1e3,5\n",
        "infer_column_types: false",
        steps=f"- convert_column_types: [{{columns: x, column_type: {target}}}]\n",
    )
text("truth to string", "b\ntrue\nfalse\n\n", steps="- convert_column_types: [{columns: b, column_type: string}]\n")
text(
    "dates to string",
    "d\n2020-01-02 03:04:05.120\n2020-01-02 03:04:05\n2020-01-02 03:04:05.1234\n2020-01-02 03:04:10\n",
    steps="- convert_column_types: [{columns: d, column_type: string}]\n",
)
text("floats to string", "x\n1e10\n1e-7\n0.1\n5\n", steps="- convert_column_types: [{columns: x, column_type: string}]\n")
text("unknown column", TEN, steps="- convert_column_types: [{columns: zz, column_type: string}]\n")
for formats, value in (
    ("['%d/%m/%Y', '%Y-%m-%d %H:%M:%S']", "1/2/2020"), ("'%d %b %y'", "1 Jan 20"), ("'%d %B %Y %I:%M %p'", "1 January 2020 03:04 PM"),
    ("'%Y-%m-%dT%H:%M:%S.%f%z'", "2020-01-02T03:04:05.123+0200"), ("'%Y%m%d'", "20200102"),
):  # fmt: skip
    convert = f"- convert_column_types: [{{columns: x, column_type: {{datetime: {{formats: {formats}}}}}}}]\n"
    text(f"date {value}", f"x,n\n{value},5\n,6\n", "infer_column_types: false", convert)
for mismatch in ("'true'", "'false'"):
    kind = f"{{boolean: {{true_values: ['yes'], false_values: ['no'], mismatch_as: {mismatch}}}}}"
    text(f"mismatch as {mismatch}", "a\nyes\nno\nzz\n", steps=f"- convert_column_types: [{{columns: a, column_type: {kind}}}]\n")
text("bad int", "x\na\n7\n", steps="- convert_column_types: [{columns: x, column_type: int}]\n", row=CONVERT, ours="column 'x': 'a' is not")
text(
    "bad truth",
    "a\nyes\nzz\n",
    steps="- convert_column_types: [{columns: a, column_type: {boolean: {true_values: ['yes'], false_values: ['no']}}}]\n",
    row=CONVERT,
    ours="'zz' is not one of yes, no",
)


def partition(name: str, form: str, more: str = "", options: str = PATH, files: dict[str, Data] | None = None, **rest: Any) -> None:
    step = f"- extract_columns_from_partition_format: {{partition_format: '{form}'}}\n"
    text(f"partition {name}", files or SHOP, options, step + more, paths="pattern: ./**/*.csv", **rest)


partition("by folders", "/s={s}/b={b}")
partition("to the end", "{s}/{b}/{n}.csv")
partition("extension", "/s={s}/b={b}/{n}.{ext}")
partition("date", "{d:yyyy/MM/dd}/{n}.csv", files={"2020/01/02/x.csv": "a\n5\n", "2020/02/03/x.csv": "a\n6\n"})
partition("date in one segment", "/{d:yyyy-MM-dd}.csv", files={"2020-01-02.csv": "a\n5\n"})
partition("path dropped", "/s={s}/b={b}", "- drop_columns: Path\n")
partition("filter", "/s={s}/b={b}", "- filter: 's == \"2\"'\n")
partition("convert", "/s={s}/b={b}", "- convert_column_types: [{columns: s, column_type: int}]\n")
partition("no path column", "/s={s}/b={b}", options="", row=PARTITION, ours={"a": [5, 6, 7], "s": ["1", "2", "2"], "b": ["x", "y", "z"]})
partition("no match", "/s={s}/b={b}/f.csv", row=PARTITION, ours="does not fit the partition format")
partition("wrong order of a date", "/{d:yyyy-dd-MM}.csv", options="", files={"2020-13-02.csv": "a\n5\n"}, row=PARTITION,
          ours={"a": [5], "d": [T("2020-02-13")]})  # fmt: skip

# JSON lines

lines("plain", '{"a":5,"b":"x"}\n\n{"a":6,"c":true}\n{"b":null,"a":7}\n')
lines("nested", '{"a":{"x":1,"y":"z"},"b":[1,2,3]}\n{"a":{"x":2},"b":[4]}\n')
lines("dates stay text", '{"a":"2020-01-01"}\n{"a":"2020-01-01T00:00:00Z"}\n')
lines("0 and 1", '{"a":1}\n{"a":0}\n')
lines("null first", '{"a":null}\n{"a":2}\n')
lines("only null", '{"a":null,"b":5}\n')
lines("large number", '{"a":99999999999999999999}\n')
lines("drop", '{"a":5}\n{bad\n{"a":6}\n', "invalid_lines: drop")
lines("path", '{"a":5}\n', PATH)
lines("escapes", '{"é":"\\u00e9\\n\\ud83d\\ude00"}\n')
lines("two files", {"1.jsonl": '{"a":5}\n', "2.jsonl": '{"b":6}\n'})
lines("int, then float", '{"a":1}\n{"a":2.5}\n', row=TYPES, ours={"a": [1.0, 2.5]})
lines("float, then int", '{"a":1.5}\n{"a":2}\n', row=TYPES, ours={"a": [1.5, 2.0]})
lines("text, then number", '{"a":"x"}\n{"a":1}\n', row=TYPES, ours="a.jsonl:2: column 'a': '1' is a whole number")
lines("late key", '{"a":1}\n' * 200 + '{"a":1,"b":2}\n', row=UNITED, ours="a.jsonl:201: the key 'b' does not occur")

# Parquet

DAY = dt.datetime(2020, 1, 2, 3, 4, 5, 6)
parquet(
    "types",
    pa.table({
        "i": pa.array([1, None]), "u": pa.array([1, 2], pa.uint64()), "f": pa.array([1.5, 2], pa.float32()),
        "i8": pa.array([1, 2], pa.int8()), "us": pa.array([DAY] * 2), "ns": pa.array([DAY] * 2, pa.timestamp("ns")),
        "ms": pa.array([DAY.replace(microsecond=0)] * 2, pa.timestamp("ms")), "tz": pa.array([DAY] * 2, pa.timestamp("us", "UTC")),
        "date": pa.array([DAY.date()] * 2), "dec": pa.array([Decimal("1.5")] * 2), "bytes": pa.array([b"x", None]),
        "time": pa.array([dt.time(1, 2)] * 2),
        "b": pa.array([True, None]), "s": pa.array(["x", None]), "ls": pa.array(["x", "y"], pa.large_string()),
        "null": pa.nulls(2),
    }),
)  # fmt: skip
parquet("nested", pa.table({"l": pa.array([[1, 2], None]), "st": pa.array([{"x": 1}, {"x": 2}])}))
parquet("united", {"1.parquet": pa.table({"a": [1], "b": ["x"]}), "2.parquet": pa.table({"c": [1.5], "b": ["y"]})})
parquet("int and float", {"1.parquet": pa.table({"a": [1]}), "2.parquet": pa.table({"a": [1.5]})})
parquet("int32 and int64", {"1.parquet": pa.table({"a": pa.array([1], pa.int32())}), "2.parquet": pa.table({"a": [2]})})
parquet("pandas range", pa.Table.from_pandas(pd.DataFrame({"a": [1, 2]})))
parquet("path", pa.table({"a": [1]}), PATH)
parquet("filter with null", pa.table({"a": [1, None, 3]}), steps="- filter: 'not (a > 1)'\n")
parquet("to string", pa.table({"a": [1, 2], "f": [1.0, 2.5]}), steps="- convert_column_types: [{columns: [a, f], column_type: string}]\n")
parquet("take", pa.table({"a": list(range(100))}), steps="- skip: 10\n- take: 5\n")
parquet(
    "int and text",
    {"1.parquet": pa.table({"a": [1]}), "2.parquet": pa.table({"a": ["x"]})},
    row=UNITED,
    ours="'a' is string here and int64",
)
parquet("dictionary", pa.table({"a": pa.array(["x", "y", "x"]).dictionary_encode()}), row=TYPES, ours={"a": ["x", "y", "x"]})


def write(case: Case, folder: Path) -> None:
    for name, data in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(data, pa.Table):
            pq.write_table(data, path, row_group_size=16)
        else:
            path.write_bytes(data.encode() if isinstance(data, str) else data)
    body = "".join(f"  {line}\n" for line in case.transformations.splitlines())
    (folder / "MLTable").write_text(f"type: mltable\npaths: [{{{case.paths}}}]\ntransformations:\n{body}")


def theirs(folder: Path) -> Any:
    """The other reader's frame, or the message of its error."""
    import mltable

    try:
        return mltable.load(str(folder)).to_pandas_dataframe()
    except BaseException as error:  # Rust's panics are not Exceptions
        return str(error) or type(error).__name__


def ours(folder: Path, scratch: Path, size: int | None = None) -> Any:
    """All mini-batches put together, as a frame; or the message of the first error."""
    given = {"table": JobInput(type="mltable", path=str(folder))}
    step = Step(name="job", inputs=given, input_data="table", mini_batch_size=size)
    try:
        source = open_source(step, scratch=scratch, warn=lambda _: None)
        lines = [line for chunk in source.chunks(iter(())) for line in chunk.lines]
    except UserError as error:
        return str(error)
    assert source.loader is not None
    loaded = source.loader.load(0, lines, scratch, "arrow")
    for error in loaded.failed.values():
        return error.message
    told = [json.loads(line) for line in loaded.lines]
    if not told:
        return pa.Table.from_batches([], source.loader.schema).to_pandas()
    reader = pa.ipc.open_file(told[0]["table"])
    return pa.Table.from_batches([reader.get_batch(each["batch"]) for each in told]).to_pandas()


def plain(value: Any) -> Any:
    """A cell that can be compared."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if not isinstance(value, str) and hasattr(value, "tolist") and hasattr(value, "__len__"):
        return [plain(each) for each in value]
    return None if value is None or value is pd.NaT or (isinstance(value, float) and value != value) else value


def seen(frame: Any) -> Any:
    """Columns with dtype and cells; a column without any value has none."""
    if isinstance(frame, str):
        return "error"
    return [
        (name, "" if frame[name].isna().all() else str(frame[name].dtype), [plain(value) for value in frame[name].tolist()])
        for name in frame
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    table = tmp_path / "table"
    table.mkdir()
    (tmp_path / "scratch").mkdir()
    return table


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_equal_or_a_named_difference(case: Case, folder: Path, tmp_path: Path) -> None:
    write(case, folder)
    mine, other = ours(folder, tmp_path / "scratch"), theirs(folder)
    if not case.row:
        assert seen(mine) == seen(other), f"{mine}\n{other}"
        assert seen(ours(folder, tmp_path / "scratch", size=7)) == seen(mine)
    elif isinstance(case.ours, str):
        assert isinstance(mine, str)
        assert case.ours in mine
        assert mine.count("\n") <= 3
    else:
        assert {name: mine[name].tolist() for name in mine} == case.ours
        assert seen(mine) != seen(other)


def test_the_corpus_is_large_enough() -> None:
    assert len(CASES) >= 80
    assert len({case.name for case in CASES}) == len(CASES)
