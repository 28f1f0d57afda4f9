"""Serve one session, from the first word to the last."""

import contextlib
import os
import signal
import threading
import time

from packager.remote.agent.channel import Channel, Lost, Refused, refusal
from packager.remote.agent.facts import facts
from packager.remote.agent.janitor import Janitor
from packager.remote.agent.place import cache_folder, taken
from packager.remote.agent.session import Session

PROTOCOL = 1
BEAT_S = 5.0


def main() -> None:
    """Serve one session."""
    channel = Channel(0, os.dup(1))
    # What a library prints must not end up between the messages.
    os.dup2(2, 1)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        channel.send({"edgepack": PROTOCOL, "facts": facts()})
        message = channel.receive()
        with taken(cache_folder() / "sessions" / message["session"]) as place:
            janitor = Janitor(place, message["lease_s"])
            channel.send({"folder": str(place.folder)})
            threading.Thread(target=_beat, args=(channel,), daemon=True).start()
            kept = Session(channel, place, janitor).serve()
            if kept:
                place.leave(kept)
            else:
                place.remove()
            janitor.dismiss()
        channel.send({"closed": True})
    except Refused as refused:
        channel.send({"refused": {"code": refused.code, "what": str(refused)}})
    except OSError as error:
        channel.send(refusal(error))
    except Lost:
        pass  # the janitor sees to the rest


def _beat(channel: Channel) -> None:
    """Tell the host now and then that this board is alive."""
    with contextlib.suppress(Lost):
        while True:
            time.sleep(BEAT_S)
            channel.send({"beat": True})
