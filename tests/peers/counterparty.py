"""A counterparty for tests: a QuickFIX initiator with one or several sessions to one address.

Usage: counterparty.py '{"host":"127.0.0.1","port":9876,"reconnect":1,"store":null,"tls":null,
        "sessions":[{"begin":"FIX.4.4","sender":"BROKER","target":"ENGINE","logon":{"20001":"VWAP"}}]}'
`logon` are fields put on each Logon; header fields (50, 57, ...) go into the header. `reconnect` is in
seconds: large where one attempt is wanted. `tls` is {"ca":PATH,"certificate":PATH,"key":PATH}. The events and commands are those of peer.py.
"""

import json
import sys

import quickfix as fix

import peer


def main():
    peer.die_with_parent()
    config = json.loads(sys.argv[1])
    lines = ["[DEFAULT]", f"SocketConnectHost={config['host']}", f"SocketConnectPort={config['port']}",
             f"ReconnectInterval={config.get('reconnect', 1)}", "SocketNodelay=Y"]
    if config.get("store"):
        lines.append(f"FileStorePath={config['store']}")
    tls = config.get("tls")
    if tls:
        lines += [f"CertificationAuthoritiesFile={tls['ca']}", f"ClientCertificateFile={tls['certificate']}",
                  f"ClientCertificateKeyFile={tls['key']}"]
    for session in config["sessions"]:
        lines += peer.session_settings("initiator", session)
    settings = peer.load_settings(lines)
    store = peer.store_factory(config.get("store"), settings)
    application = peer.Application({peer.session_name(s): s.get("logon", {}) for s in config["sessions"]})
    # Not SocketInitiator: in QuickFIX 1.16 it never connects again after a disconnect of its own, as after a Logout
    # (quickfix/quickfix#739), and would go on "sending" Logons without a socket.
    initiate = fix.ThreadedSSLSocketInitiator if tls else fix.ThreadedSocketInitiator
    initiator = initiate(application, store, settings)
    initiator.start()
    session_ids = {peer.session_name(s): fix.SessionID(s["begin"], s["sender"], s["target"])
                   for s in config["sessions"]}
    peer.emit("started")
    peer.serve_commands(application, session_ids)
    peer.end(application, session_ids)


if __name__ == "__main__":
    main()
