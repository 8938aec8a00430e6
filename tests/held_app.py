"""`app.py` whose 64-step decodes wait, after each step, for one byte from the pipe HOLD.

So a test, not the speed of the machine, decides how far a decode has come when something else happens.
"""

import os
import runpy
from pathlib import Path

from cogrpo import engine

decode = engine.decode
pipe = os.open(os.environ["HOLD"], os.O_RDWR)  # both ends, so that reading waits where nobody writes


def held(model, condition, schedules, *rest):
    for step in decode(model, condition, schedules, *rest):
        yield step
        if schedules[0].steps == 64:
            os.read(pipe, 1)


engine.decode = held
runpy.run_path(str(Path(__file__).parents[1] / "app.py"), run_name="__main__")
