"""The board's side of a session: the host sends these files through ssh, and the board's own Python runs them.

Standard library only. Both ends send lines of JSON; a line with "bytes" is followed by so many raw ones. The end of the
input is the dead man's handle: what was started is stopped, and the session's folder goes.
"""
