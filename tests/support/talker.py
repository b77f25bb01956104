"""A terminal program that takes prompts like an assistant: `python talker.py HEARD [DEAF] [SLOW_S]`.

Each submitted text becomes one line of JSON in the file HEARD. The first DEAF Enters are swallowed. For SLOW_S seconds it
paints its start-up screen and drops what is typed, as the real ones do.
"""

from __future__ import annotations

import json
import os
import sys
import termios
import time
import tty
from pathlib import Path

PASTE, PASTED = b"\x1b[200~", b"\x1b[201~"


def start_up(seconds: float) -> None:
    """Paint, and drop what comes in."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        os.write(1, b".")
        time.sleep(0.1)
    termios.tcflush(0, termios.TCIFLUSH)


def main(heard: str, deaf: int, slow_s: float) -> None:
    tty.setraw(0)
    start_up(slow_s)
    os.write(1, b"\x1b[?2004h\r\n> ")
    text, waiting, is_pasting = b"", b"", False
    while data := os.read(0, 4096):
        waiting += data
        while waiting:
            if waiting.startswith((PASTE, PASTED)):
                is_pasting = waiting.startswith(PASTE)
                waiting = waiting[len(PASTE) :]
            elif PASTE.startswith(waiting) or PASTED.startswith(waiting):
                break  # half of a bracket
            elif waiting.startswith(b"\r") and not is_pasting:
                waiting = waiting[1:]
                if deaf:
                    deaf -= 1
                    continue
                with Path(heard).open("a", encoding="utf-8") as file:
                    # terminals paste a carriage return for each new line
                    file.write(json.dumps(text.decode().replace("\r", "\n")) + "\n")
                text = b""
                os.write(1, b"\r\nheard\r\n> ")
            else:
                text += waiting[:1]
                os.write(1, waiting[:1].replace(b"\r", b"\r\n"))
                waiting = waiting[1:]


if __name__ == "__main__":
    given = [*sys.argv[1:], "0", "0"]
    main(given[0], int(given[1]), float(given[2]))
