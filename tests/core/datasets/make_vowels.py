"""Makes the packaged Japanese vowels: ``python tests/core/datasets/make_vowels.py FOLDER FILE``.

FOLDER holds JapaneseVowels_TRAIN.ts and JapaneseVowels_TEST.ts, as in `aeon/datasets/data/JapaneseVowels` of the
package aeon 1.6. Values are rounded to three decimals, a thousandth of their spread.
"""

import sys
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet

NOTICE = (
    "Japanese Vowels by Mineichi Kudo, Jun Toyama and Masaru Shimbo, UCI Machine Learning Repository, "
    "https://doi.org/10.24432/C5NS47, licence CC BY 4.0; changed: values rounded to three decimals"
)


def rows(folder: Path):
    """A step per row: utterance, part, speaker, 12 LPC cepstrum coefficients."""
    utterance = 0
    for part in ("train", "test"):
        text = (folder / f"JapaneseVowels_{part.upper()}.ts").read_text()
        for line in text.split("@data\n")[1].splitlines():
            *columns, speaker = line.split(":")
            for values in zip(*(column.split(",") for column in columns), strict=True):
                yield utterance, part, int(speaker), *(round(float(value), 3) for value in values)
            utterance += 1


def make(folder: Path, file: Path) -> None:
    names = ["utterance", "part", "speaker", *(f"c{index}" for index in range(1, 13))]
    frame = pd.DataFrame(rows(folder), columns=names).astype({"utterance": "int16", "speaker": "int8"})
    table = pyarrow.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata({"notice": NOTICE})
    pyarrow.parquet.write_table(table, file, compression="zstd", compression_level=19)


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]))
