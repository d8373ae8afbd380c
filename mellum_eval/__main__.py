"""`python -m mellum_eval` is `mellum-eval`."""

from mellum_eval.cli import main

if __name__ == "__main__":
    main()
