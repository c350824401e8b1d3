from __future__ import annotations

from runner.errors import Place, UserError, UserErrors, one_line, printable


def test_control_characters_are_shown():
    assert one_line("a\x1b[31m\r\n\tb\x85\u2028\u202e") == "a\\x1b[31m\\r\\n\\tb\\x85\\u2028\\u202e"
    assert one_line("ä 日本\u3000語 \udc80") == "ä 日本\u3000語 \udc80"
    assert printable("a\x07\tb\n\x1bc") == "a\\x07\tb\n\\x1bc"


def test_errors_about_binary_data():
    error = UserError("column '\x00'", place=Place(file="a\nb.csv", line=3), allowed="x\ny, \x1b", todo="mend it")
    assert str(error) == "a\\nb.csv:3: column '\\x00'\n  allowed: x\\ny, \\x1b\n  next: mend it"


def test_the_same_error_in_several_places_is_shown_once():
    same = [UserError("no 'x'", place=Place(file="job.yml", line=line), allowed="y", todo="mend it") for line in (3, 9, 9)]
    other = UserError("no 'x'", place=Place(file="job.yml", line=5), allowed="z")
    nowhere = UserError("broken")
    errors = UserErrors([same[0], other, *same[1:], nowhere, nowhere])
    assert str(errors) == "job.yml:3, job.yml:9: no 'x'\n  allowed: y\n  next: mend it\njob.yml:5: no 'x'\n  allowed: z\nbroken"
    assert len(errors.errors) == 6
