#include "launch/launcher/control_message.h"

#include <nlohmann/json.hpp>

#include "model/io/error.h"

namespace vmla::launch {
namespace {

using Json = nlohmann::json;

struct Encode {
  Json operator()(const Hello& m) const {
    return {{"type", "hello"},
            {"version", m.version},
            {"node", m.node},
            {"nodes", m.nodes},
            {"workers", m.workers},
            {"host", m.host}};
  }
  Json operator()(const Heartbeat&) const { return {{"type", "heartbeat"}}; }
  Json operator()(const StartOrder& m) const {
    return {{"type", "start"},
            {"run_id", m.run_id},
            {"attempt", m.attempt},
            {"max_restarts", m.max_restarts},
            {"workers_per_node", m.workers_per_node},
            {"master_addr", m.master_addr},
            {"master_port", m.master_port}};
  }
  Json operator()(const WorkerFailed& m) const {
    return {{"type", "failed"},
            {"attempt", m.attempt},
            {"rank", m.end.rank},
            {"host", m.end.host},
            {"exit_code", m.end.exit_code},
            {"signal", m.end.signal},
            {"after_stop", m.end.after_stop},
            {"seconds", m.end.seconds},
            {"last_lines", m.end.last_lines},
            {"message", m.end.message}};
  }
  Json operator()(const NodeEnded& m) const {
    return {{"type", "ended"}, {"attempt", m.attempt}, {"stopped", m.stopped}};
  }
  Json operator()(const SignalSeen& m) const {
    return {{"type", "signal"}, {"number", m.number}, {"at_once", m.at_once}};
  }
  Json operator()(const StopOrder& m) const { return {{"type", "stop"}, {"why", m.why}}; }
  Json operator()(const FinishOrder& m) const {
    return {{"type", "finish"}, {"status", m.status}, {"why", m.why}};
  }
};

WorkerEnd worker_end(const Json& json) {
  WorkerEnd end;
  json.at("rank").get_to(end.rank);
  json.at("host").get_to(end.host);
  json.at("exit_code").get_to(end.exit_code);
  json.at("signal").get_to(end.signal);
  json.at("after_stop").get_to(end.after_stop);
  json.at("seconds").get_to(end.seconds);
  json.at("last_lines").get_to(end.last_lines);
  json.at("message").get_to(end.message);
  return end;
}

StartOrder start_order(const Json& json) {
  StartOrder order;
  json.at("run_id").get_to(order.run_id);
  json.at("attempt").get_to(order.attempt);
  json.at("max_restarts").get_to(order.max_restarts);
  json.at("workers_per_node").get_to(order.workers_per_node);
  json.at("master_addr").get_to(order.master_addr);
  json.at("master_port").get_to(order.master_port);
  return order;
}

ControlMessage message_of(const Json& json) {
  const auto type = json.at("type").get<std::string>();
  if (type == "hello") {
    return Hello{
        json.at("version"), json.at("node"), json.at("nodes"), json.at("workers"), json.at("host")};
  }
  if (type == "heartbeat") return Heartbeat{};
  if (type == "start") return start_order(json);
  if (type == "failed") return WorkerFailed{json.at("attempt"), worker_end(json)};
  if (type == "ended") return NodeEnded{json.at("attempt"), json.at("stopped")};
  if (type == "signal") return SignalSeen{json.at("number"), json.at("at_once")};
  if (type == "stop") return StopOrder{json.at("why")};
  if (type == "finish") return FinishOrder{json.at("status"), json.at("why")};
  fail_run("unknown type '{}'", type);
}

}  // namespace

std::string encode(const ControlMessage& message) {
  // A worker's last words may be no UTF-8.
  return std::visit(Encode{}, message).dump(-1, ' ', false, Json::error_handler_t::replace);
}

ControlMessage decode(const std::string& line) {
  try {
    return message_of(Json::parse(line));
  } catch (const std::exception& error) {
    fail_run("not a message between launchers ({}): {}", error.what(), line.substr(0, 100));
  }
}

}  // namespace vmla::launch
