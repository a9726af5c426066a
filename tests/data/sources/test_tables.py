"""CSV tables of annotations."""

import pytest

from blurnet.data.sources._tables import check_files, read_table


def test_rows_with_what_the_header_names(tmp_path):
    (tmp_path / "a.csv").write_bytes("\ufefffile; label ;more\nö.png;3;x\nb.png;4;\n".encode())
    rows = read_table(tmp_path / "a.csv", ["file", "label"], ";")
    assert rows == [{"file": "ö.png", "label": "3", "more": "x"}, {"file": "b.png", "label": "4", "more": ""}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,x\na,1\n", r"missing column \['label'\]; the header has \['file', 'x'\]"),
        ("", r"missing column \['file', 'label'\]"),
        ("file,label\n", "a header but no rows"),
        ("file,label\na,1\nb\n", "line 3: the row has fewer fields"),
    ],
)
def test_bad_tables_are_named(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.csv.*{message}"):
        read_table(tmp_path / "a.csv", ["file", "label"])


def test_missing_files_are_counted_and_a_few_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such annotation file: .*gone\.csv"):
        read_table(tmp_path / "gone.csv", [])
    (tmp_path / "here.png").touch()
    check_files([tmp_path / "here.png"], tmp_path / "a.csv")
    paths = [tmp_path / name for name in ("here.png", "1", "2", "3", "4")]
    with pytest.raises(FileNotFoundError, match=r"a\.csv: 4 of 5 images are missing: \S+/1, \S+/2, \S+/3$"):
        check_files(paths, tmp_path / "a.csv")
