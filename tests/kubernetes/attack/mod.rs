//! Does every live session go on, and does no Logon reach a wrong engine, whatever befalls the cluster?
//!
//! One file for each kind of attack. Each test installs the chart in a cluster of its own and attacks it beside live sessions
//! that speak all the while, of which every message is counted on both sides. In `make test` each is short;
//! `make faults-kubernetes` plays them in full (`FIXGW_FAULTS=full`), and prints a table.

mod relay;
mod scene;

mod change;
mod engines;
mod leader;
mod load;
mod rights;
mod rolling;
mod server;
mod table;
