"""Evaluate: ``python evaluate.py --model NAME_OR_FOLDER --victims rp2:DIR --attacks rp2 --out DIR``."""

import sys

from blurnet.cli import evaluate_main

if __name__ == "__main__":
    sys.exit(evaluate_main())
