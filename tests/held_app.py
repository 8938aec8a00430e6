"""`app.py` whose decodes of HELD_STEPS steps wait, after each step, for one byte from the pipe HOLD.

So a test, not the speed of the machine, decides how far a decode has come when something else happens.
"""

import os
import runpy
from pathlib import Path

from cogrpo.engine import Engine, Update

decode = Engine.decode
steps = int(os.environ["HELD_STEPS"])
pipe = os.open(os.environ["HOLD"], os.O_RDWR)  # both ends, so that reading waits where nobody writes


def held(engine, recipes, cancel=None):
    for update in decode(engine, recipes, cancel):
        yield update
        if isinstance(update, Update) and recipes[0].steps == steps:
            os.read(pipe, 1)


Engine.decode = held
runpy.run_path(str(Path(__file__).parents[1] / "app.py"), run_name="__main__")
