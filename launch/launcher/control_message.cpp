#include "launch/launcher/control_message.h"

#include <algorithm>
#include <cctype>
#include <csignal>
#include <limits>
#include <nlohmann/json.hpp>

#include "launch/launcher/worker_count.h"
#include "model/io/error.h"
#include "model/io/json_text.h"

namespace vmla::launch {

// Writing: each member under its own name.
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Challenge, guarded, nonce)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Hello, version, node, nodes, workers, host, nonce, proof)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Welcome, proof)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(
    StartOrder, run_id, attempt, max_restarts, workers_per_node, master_addr, master_port)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(
    WorkerEnd, rank, host, exit_code, signal, after_stop, seconds, last_lines, message)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(NodeEnded, attempt, stopped)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SignalSeen, number, at_once)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(StopOrder, why)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(FinishOrder, status, why)

// The macro takes no struct without members.
static void to_json(nlohmann::json& json, const Heartbeat&) {
  json = nlohmann::json::object();
}

// The members of `end` stand beside `attempt`, not in an object of their own.
static void to_json(nlohmann::json& json, const WorkerFailed& failed) {
  json = failed.end;
  json["attempt"] = failed.attempt;
}

namespace {

using Json = nlohmann::json;

// Bounds of members.
constexpr int64_t kMostAttempts = std::numeric_limits<int32_t>::max();
constexpr size_t kLongestName = 255;  // of a host, a version, a nonce, a run
constexpr size_t kLongestText = kLongestMessage;

// What "type" says of each.
const char* type_of(const Challenge&) {
  return "challenge";
}
const char* type_of(const Hello&) {
  return "hello";
}
const char* type_of(const Welcome&) {
  return "welcome";
}
const char* type_of(const Heartbeat&) {
  return "heartbeat";
}
const char* type_of(const StartOrder&) {
  return "start";
}
const char* type_of(const WorkerFailed&) {
  return "failed";
}
const char* type_of(const NodeEnded&) {
  return "ended";
}
const char* type_of(const SignalSeen&) {
  return "signal";
}
const char* type_of(const StopOrder&) {
  return "stop";
}
const char* type_of(const FinishOrder&) {
  return "finish";
}

/// The whole number that `value`, called `name`, is. RunError where it is none within the bounds:
/// the library's own reading would wrap 2^63 and take 1.5 for 1.
int64_t integer_of(const Json& value, const char* name, int64_t least, int64_t most) {
  const bool wraps = value.is_number_unsigned() &&
                     value.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()};
  if (value.is_number_integer() && !wraps) {
    const auto number = value.get<int64_t>();
    if (least <= number && number <= most) return number;
  }
  fail_run("'{}' must be number, a whole one from {} to {}", name, least, most);
}

/// The members of a message, each read within its bounds.
class Members {
 public:
  explicit Members(const Json& object) : object_(object) {}

  int64_t integer(const char* name, int64_t least, int64_t most) const {
    return integer_of(at(name), name, least, most);
  }
  bool flag(const char* name) const {
    const Json& value = at(name);
    if (!value.is_boolean()) fail_run("'{}' must be boolean", name);
    return value.get<bool>();
  }
  std::string text(const char* name, size_t longest) const {
    const Json& value = at(name);
    if (!value.is_string() || value.get_ref<const std::string&>().size() > longest) {
      fail_run("'{}' must be string, of {} bytes at most", name, longest);
    }
    return value.get<std::string>();
  }
  /// The same where older launchers do not send it: "".
  std::string text_if_any(const char* name, size_t longest) const {
    return object_.contains(name) ? text(name, longest) : "";
  }
  /// A text of one or more characters that `fits` takes.
  std::string word(const char* name, const char* what, bool (*fits)(unsigned char)) const {
    std::string value = text(name, kLongestName);
    if (value.empty() || !std::all_of(value.begin(), value.end(), fits)) {
      fail_run("'{}' must be string, {}", name, what);
    }
    return value;
  }
  double seconds(const char* name) const {
    constexpr double kMost = 1e12;
    const Json& value = at(name);
    const double number = value.is_number() ? value.get<double>() : -1;
    if (!(number >= 0 && number <= kMost)) fail_run("'{}' must be number from 0", name);
    return number;
  }
  std::vector<int64_t> integers(const char* name, size_t count, int64_t least, int64_t most) const {
    const Json& value = at(name);
    if (!value.is_array() || value.empty() || value.size() > count) {
      fail_run("'{}' must be array, of 1 to {} numbers", name, count);
    }
    std::vector<int64_t> out;
    for (const Json& entry : value) out.push_back(integer_of(entry, name, least, most));
    return out;
  }

 private:
  const Json& at(const char* name) const {
    const auto found = object_.find(name);
    if (found == object_.end()) fail_run("'{}' not found", name);
    return *found;
  }

  const Json& object_;
};

bool fits_run_id(unsigned char c) {
  return std::isalnum(c) != 0 || c == '-' || c == '_';
}
bool fits_address(unsigned char c) {
  return c > ' ' && c < 0x7f;
}

void read(const Members& from, Challenge& to) {
  to.guarded = from.flag("guarded");
  to.nonce = from.text("nonce", kLongestName);
}
void read(const Members& from, Hello& to) {
  to.version = from.text("version", kLongestName);
  to.node = from.integer("node", 0, kMostNodes - 1);
  to.nodes = from.integer("nodes", 1, kMostNodes);
  to.workers = from.integer("workers", 1, kMostWorkers);
  to.host = from.text("host", kLongestName);
  to.nonce = from.text_if_any("nonce", kLongestName);
  to.proof = from.text_if_any("proof", kLongestName);
}
void read(const Members& from, Welcome& to) {
  to.proof = from.text("proof", kLongestName);
}
void read(const Members&, Heartbeat&) {}
void read(const Members& from, StartOrder& to) {
  // Becomes the name of a folder in --log-dir.
  to.run_id = from.word("run_id", "of letters, digits, - and _", fits_run_id);
  to.attempt = from.integer("attempt", 0, kMostAttempts);
  to.max_restarts = from.integer("max_restarts", 0, std::numeric_limits<int64_t>::max());
  to.workers_per_node = from.integers("workers_per_node", kMostNodes, 1, kMostWorkers);
  to.master_addr = from.word("master_addr", "a name or an address", fits_address);
  to.master_port = from.integer("master_port", 1, 65535);
}
void read(const Members& from, WorkerFailed& to) {
  to.attempt = from.integer("attempt", 0, kMostAttempts);
  to.end.rank = from.integer("rank", 0, kMostNodes * kMostWorkers - 1);
  to.end.host = from.text("host", kLongestName);
  to.end.exit_code = static_cast<int>(from.integer("exit_code", 0, 255));
  to.end.signal = static_cast<int>(from.integer("signal", 0, SIGRTMAX));
  to.end.after_stop = from.flag("after_stop");
  to.end.seconds = from.seconds("seconds");
  to.end.last_lines = from.text("last_lines", kLongestText);
  to.end.message = from.text("message", kLongestText);
}
void read(const Members& from, NodeEnded& to) {
  to.attempt = from.integer("attempt", 0, kMostAttempts);
  to.stopped = from.flag("stopped");
}
void read(const Members& from, SignalSeen& to) {
  to.number = static_cast<int>(from.integer("number", 1, SIGRTMAX));
  // Those that a launcher passes on (signal_queue.h); others could stop or crash the workers.
  constexpr int kPassedOn[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1};
  if (std::ranges::find(kPassedOn, to.number) == std::end(kPassedOn)) {
    fail_run("'number' {} is no signal that launchers pass on", to.number);
  }
  to.at_once = from.flag("at_once");
}
void read(const Members& from, StopOrder& to) {
  to.why = from.text("why", kLongestText);
}
void read(const Members& from, FinishOrder& to) {
  to.status = static_cast<int>(from.integer("status", 0, 255));
  to.why = from.text("why", kLongestText);
}

/// Reads the alternative of ControlMessage that has this type, the I-th or a later one.
template <size_t I = 0>
ControlMessage message_of(const std::string& type, const Members& members) {
  if constexpr (I == std::variant_size_v<ControlMessage>) {
    fail_run("unknown type '{}'", type);
  } else {
    std::variant_alternative_t<I, ControlMessage> message;
    if (type != type_of(message)) return message_of<I + 1>(type, members);
    read(members, message);
    return message;
  }
}

}  // namespace

std::string encode(const ControlMessage& message) {
  const auto to_object = [](const auto& alternative) {
    Json json = alternative;
    json["type"] = type_of(alternative);
    return json;
  };
  // A worker's last lines may be no UTF-8.
  return std::visit(to_object, message).dump(-1, ' ', false, Json::error_handler_t::replace);
}

ControlMessage decode(const std::string& line) {
  try {
    if (line.size() > kLongestMessage) fail_run("longer than {} bytes", kLongestMessage);
    const Json json = io::parse_json<Json>(line, "a line");
    if (!json.is_object()) fail_run("no object with a 'type'");
    const Members members(json);
    return message_of(members.text("type", kLongestName), members);
  } catch (const std::exception& error) {
    fail_run("not a message between launchers ({}): {}", error.what(), line.substr(0, 100));
  }
}

}  // namespace vmla::launch
