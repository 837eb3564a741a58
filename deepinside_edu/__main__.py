"""`python -m deepinside_edu` is the same as `deepinside`."""

import sys

from .cli import main

sys.exit(main())
