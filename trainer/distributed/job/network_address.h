#pragma once

#include <cstdint>
#include <string>
#include <vector>

/// Names, addresses and ports of the hosts of a job, as the system knows them.
namespace vmla::distributed {

/// This host's name.
std::string host_name();

/// The numeric addresses of a host. UserError when it has none: `what` says whose setting it is.
std::vector<std::string> resolve_host(const std::string& host, const std::string& what);

/// 127.0.0.0/8 or ::1.
bool is_loopback(const std::string& address);

/// The address under which ranks on other hosts reach this one: the one that packets to `host`
/// (MASTER_ADDR) leave from. "127.0.0.1", or "::1" where there is no other loopback, when the
/// job's ranks meet there: `host` is a loopback address, or all ranks are on one node and `host`
/// leads to its loopback. A host's own
/// name often does; with several nodes, its first address that is no loopback is meant.
std::string own_address(const std::string& host, int64_t nodes);

/// A socket that listens on `port` of all addresses (IPv4, and IPv6 where there is one), or of the
/// one that `host` (MASTER_ADDR) names if that is a loopback address or "localhost": then no other
/// machine reaches it. Port 0: any that is free. UserError when the port is taken or may not be
/// used.
int listen_on(int64_t port, const std::string& host = "");

/// Lets a socket listen that this process inherited, and keeps processes that this one starts from
/// inheriting it. Returns the port, or 0 when the descriptor is no socket that can listen.
int64_t listen_on_inherited(int socket);

/// The port that a socket is bound to; 0 when there is none.
int64_t port_of(int socket);

/// Keeps processes that this one starts from inheriting its sockets. Gloo does not do that for its
/// own, and a child that outlives a killed rank would keep the connections open and hide its death
/// from the other ranks. Returns how many sockets changed.
int64_t close_sockets_on_exec();

}  // namespace vmla::distributed
