#include "launch/launcher/control_message.h"

#include <nlohmann/json.hpp>

#include "model/io/error.h"

namespace vmla::launch {

// Each member under its own name; reading fails where one is missing or of another type.
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Hello, version, node, nodes, workers, host)
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
static void from_json(const nlohmann::json&, Heartbeat&) {}

// The members of `end` stand beside `attempt`, not in an object of their own.
static void to_json(nlohmann::json& json, const WorkerFailed& failed) {
  json = failed.end;
  json["attempt"] = failed.attempt;
}
static void from_json(const nlohmann::json& json, WorkerFailed& failed) {
  json.at("attempt").get_to(failed.attempt);
  json.get_to(failed.end);
}

namespace {

using Json = nlohmann::json;

// What "type" says of each.
const char* type_of(const Hello&) {
  return "hello";
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

/// Reads `json` as the alternative of ControlMessage that has this type, the I-th or a later one.
template <size_t I = 0>
ControlMessage message_of(const std::string& type, const Json& json) {
  if constexpr (I == std::variant_size_v<ControlMessage>) {
    fail_run("unknown type '{}'", type);
  } else {
    std::variant_alternative_t<I, ControlMessage> message;
    if (type != type_of(message)) return message_of<I + 1>(type, json);
    json.get_to(message);
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
    const Json json = Json::parse(line);
    return message_of(json.at("type").get<std::string>(), json);
  } catch (const std::exception& error) {
    fail_run("not a message between launchers ({}): {}", error.what(), line.substr(0, 100));
  }
}

}  // namespace vmla::launch
