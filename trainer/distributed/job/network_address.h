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

/// The address of this host under which the ranks on other hosts reach it: the one that packets to
/// `host` leave from. "127.0.0.1" when the job's ranks meet on the loopback: `host` is written so,
/// or all of them are on one node and `host` leads there. (A host's own name often leads to its
/// loopback; with several nodes its first other address is meant.)
std::string own_address(const std::string& host, int64_t nodes);

/// A socket listening on `port` on all addresses (IPv4, and IPv6 where there is one); 0: any port.
/// UserError when the port is taken or may not be used.
int listen_on(int64_t port);

/// Lets a socket listen that this process inherited, and keeps it from those that it starts;
/// returns the port, or 0 when that is no socket that can.
int64_t listen_on_inherited(int socket);

/// The port that a socket is bound to; 0 when there is none.
int64_t port_of(int socket);

/// Keeps this process's sockets from the processes that it starts. Gloo's are not born so, and a
/// child that outlives a killed rank would hide its death from the others. Returns how many
/// changed.
int64_t close_sockets_on_exec();

}  // namespace vmla::distributed
