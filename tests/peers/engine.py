"""A FIX engine for tests: a QuickFIX acceptor with one or several sessions on one port.

Usage: engine.py '{"port":0,"store":null,"sessions":[{"begin":"FIX.4.4","sender":"ENGINE","target":"BROKER"}]}'
`port` 0 takes a free one; with `strangers` it outlives bytes that are no FIX, and sends nothing of its own. The events and commands are those of peer.py, and `listening` says the port.
"""

import json
import os
import sys

import quickfix as fix

import peer

# A port that was free a moment ago may be taken by now; so many tries make that a matter of seconds at worst.
PORT_TRIES_MAX = 20


def start(config, application):
    """Starts the acceptor; returns it with its port and session ids."""
    for _ in range(PORT_TRIES_MAX):
        port = config.get("port", 0) or peer.free_port()
        lines = ["[DEFAULT]", f"SocketAcceptPort={port}", "SocketReuseAddress=Y", "SocketNodelay=Y"]
        if config.get("store"):
            lines.append(f"FileStorePath={config['store']}")
        for session in config["sessions"]:
            lines += peer.session_settings("acceptor", session)
        settings = peer.load_settings(lines)
        store = peer.store_factory(config.get("store"), settings)
        # What another thread than its own sends while a SocketAcceptor is reading can stay in its queue. But the threads of
        # the other one end the process at bytes that are no FIX (`FIX::InvalidMessage`).
        kind = fix.SocketAcceptor if config.get("strangers") else fix.ThreadedSocketAcceptor
        acceptor = kind(application, store, settings)
        try:
            acceptor.start()
            return acceptor, store, settings, port
        except (fix.ConfigError, fix.RuntimeError, RuntimeError) as error:
            failure = error
            if config.get("port", 0):
                break
    peer.emit("error", message=f"cannot listen: {failure}")
    os._exit(1)


def main():
    peer.die_with_parent()
    config = json.loads(sys.argv[1])
    application = peer.Application({peer.session_name(s): s.get("logon", {}) for s in config["sessions"]})
    # QuickFIX keeps no references of its own: these live as long as the process.
    acceptor, store, settings, port = start(config, application)  # noqa: F841
    session_ids = {peer.session_name(s): fix.SessionID(s["begin"], s["sender"], s["target"])
                   for s in config["sessions"]}
    peer.emit("listening", port=port)
    peer.serve_commands(application, session_ids)
    peer.end(application, session_ids)


if __name__ == "__main__":
    main()
