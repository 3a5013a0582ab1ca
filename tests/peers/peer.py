"""What the two QuickFIX peers have in common: how they are driven and what they report.

A peer reads one JSON object per line on standard input (commands) and writes one per line on standard
output (events), so that whoever drives it awaits an event and never a duration.

Invariants:
- A peer never outlives its parent: it asks the kernel for SIGKILL at the parent's death and ends at the
  end of its standard input.
- A peer never prints the value of a field that it was given to send; only message types, sequence
  numbers, the text (58) of what it received, and the numbers of application messages.
- Application messages of one session are numbered 1, 2, 3, ... in ClOrdID (11). The number, not
  MsgSeqNum, says whether each message arrived once and in order: QuickFIX reconnects and resends by itself.
"""

import ctypes
import json
import os
import signal
import socket
import sys
import tempfile
import threading

import quickfix as fix

PR_SET_PDEATHSIG = 1

# Header fields that a Logon may be given; every other tag goes into the body.
HEADER_TAGS = {50, 57, 90, 91, 115, 116, 128, 129, 142, 143, 144, 145}

TYPE_IN_WORDS = {"0": "heartbeat", "1": "test_request", "2": "resend_request", "3": "reject",
                   "4": "sequence_reset", "5": "logout", "A": "logon"}


def die_with_parent():
    """SIGKILL for this process as soon as its parent is gone."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


_output = threading.Lock()


def emit(event, **fields):
    line = json.dumps({"event": event, **fields}, separators=(",", ":"))
    with _output:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def field(part, tag):
    """The value of a field of a message or header, or None."""
    if not part.isSetField(tag):
        return None
    value = fix.StringField(tag)
    part.getField(value)
    return value.getString()


def name(session_id):
    return session_id.toString()


class Application(fix.Application):
    """Reports everything that happens on the sessions of this process."""

    def __init__(self, logon_fields):
        super().__init__()
        self.logon_fields = logon_fields  # session name -> {tag: value}
        self.sent = {}
        self.guard = threading.Lock()
        self.changed = threading.Condition(self.guard)
        self.logged_on = set()

    def onCreate(self, session_id):
        pass

    def onLogon(self, session_id):
        with self.guard:
            self.logged_on.add(name(session_id))
        emit("logon", session=name(session_id))

    def onLogout(self, session_id):
        with self.guard:
            self.logged_on.discard(name(session_id))
            self.changed.notify_all()
        emit("logout", session=name(session_id))

    def toAdmin(self, message, session_id):
        kind = field(message.getHeader(), 35)
        if kind == "A":
            for tag, value in self.logon_fields.get(name(session_id), {}).items():
                part = message.getHeader() if int(tag) in HEADER_TAGS else message
                part.setField(fix.StringField(int(tag), value))
        self._admin("out", message, session_id, kind)

    def fromAdmin(self, message, session_id):
        self._admin("in", message, session_id, field(message.getHeader(), 35))

    def _admin(self, direction, message, session_id, kind):
        if kind == "0":
            return
        emit("admin", direction=direction, session=name(session_id), type=TYPE_IN_WORDS.get(kind, kind),
             seq=field(message.getHeader(), 34), text=field(message, 58))

    def toApp(self, message, session_id):
        if field(message.getHeader(), 43) == "Y":
            emit("resent", session=name(session_id), number=int(field(message, 11)))

    def fromApp(self, message, session_id):
        header = message.getHeader()
        emit("app", session=name(session_id), number=int(field(message, 11)), seq=int(field(header, 34)),
             possible_duplicate=field(header, 43) == "Y")

    def send(self, session_id, count):
        """Sends `count` numbered orders on one session."""
        for _ in range(count):
            with self.guard:
                number = self.sent.get(name(session_id), 0) + 1
                self.sent[name(session_id)] = number
            fix.Session.sendToTarget(order(number), session_id)
        emit("sent", session=name(session_id), total=self.sent.get(name(session_id), 0))


def order(number):
    message = fix.Message()
    message.getHeader().setField(fix.MsgType("D"))
    for tag, value in ((11, str(number)), (21, "1"), (55, "EURUSD"), (54, "1"), (38, "100"), (40, "1")):
        message.setField(fix.StringField(tag, value))
    now = fix.TransactTime()
    message.setField(now)
    return message


def session_settings(kind, session):
    """One [SESSION] of QuickFIX settings. `begin` may be FIXT.1.1, which then carries FIX.5.0SP2."""
    begin = session["begin"]
    lines = ["[SESSION]", f"ConnectionType={kind}", f"BeginString={begin}",
             f"SenderCompID={session['sender']}", f"TargetCompID={session['target']}"]
    if begin == "FIXT.1.1":
        lines.append("DefaultApplVerID=FIX.5.0SP2")
    # Without a dictionary custom tags pass, on the Logon as elsewhere.
    lines += ["UseDataDictionary=N", "StartTime=00:00:00", "EndTime=00:00:00", "NonStopSession=Y",
              f"HeartBtInt={session.get('heartbeat', 30)}",
              f"ResetOnLogon={'Y' if session.get('reset_on_logon', False) else 'N'}",
              "CheckLatency=N"]
    for key, value in session.get("settings", {}).items():
        lines.append(f"{key}={value}")
    return lines


def session_name(session):
    return f"{session['begin']}:{session['sender']}->{session['target']}"


def load_settings(lines):
    # QuickFIX reads settings from a file only.
    with tempfile.NamedTemporaryFile("w", encoding="ascii", suffix=".cfg") as out:
        out.write("\n".join(lines) + "\n")
        out.flush()
        return fix.SessionSettings(out.name)


def store_factory(directory, settings):
    """A file store keeps sequence numbers over a restart of the peer; without one they begin at 1."""
    return fix.FileStoreFactory(settings) if directory else fix.MemoryStoreFactory()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def numbers(session_id):
    session = fix.Session.lookupSession(session_id)
    emit("numbers", session=name(session_id), next_sender=session.getExpectedSenderNum(),
         next_target=session.getExpectedTargetNum(), logged_on=session.isLoggedOn())


def serve_commands(application, session_ids):
    """Obeys standard input until `stop` or its end.

    Commands: {"do":"send","count":N}, {"do":"logout"}, {"do":"logon"}, {"do":"numbers"}, {"do":"stop"};
    each but the last may name one "session", else it is for all of them.
    """
    for line in sys.stdin:
        command = json.loads(line)
        do = command["do"]
        if do == "stop":
            return
        chosen = [command["session"]] if "session" in command else list(session_ids)
        for chosen_name in chosen:
            session_id = session_ids[chosen_name]
            if do == "send":
                application.send(session_id, command["count"])
            elif do == "numbers":
                numbers(session_id)
            elif do in ("logout", "logon"):
                getattr(fix.Session.lookupSession(session_id), do)()
            else:
                emit("error", message=f"unknown command {do}")


# How long the other side may take to answer the Logout with which a peer ends.
FAREWELL_SECONDS_MAX = 3


def end(application, session_ids):
    """Logs out whoever is logged on, and ends this process.

    Never by QuickFIX's own stop(): now and then it crashes, before its thread runs and with live sessions alike. The
    end of the process closes the sockets.
    """
    with application.guard:
        live = list(application.logged_on)
    for session in live:
        fix.Session.lookupSession(session_ids[session]).logout()
    with application.guard:
        application.changed.wait_for(lambda: not application.logged_on, FAREWELL_SECONDS_MAX)
    emit("stopped")
    os._exit(0)
