#include "launch/launcher/root_cause.h"

#include <cstdio>

#include <nlohmann/json.hpp>

#include "launch/launcher/signal_queue.h"
#include "model/io/error.h"

namespace vmla::launch {

bool has_failed(const WorkerEnd& end) {
  return end.signal != 0 || (end.exit_code != 0 && end.exit_code != kStopped);
}

bool is_victim(const WorkerEnd& end) {
  return end.after_stop || (end.signal == 0 && end.exit_code == kPeerLost);
}

int status_of(const WorkerEnd& end) {
  return end.signal != 0 ? 128 + end.signal : end.exit_code;
}

const WorkerEnd* root_cause(const std::vector<WorkerEnd>& failed) {
  for (const WorkerEnd& end : failed) {
    if (!is_victim(end)) return &end;
  }
  return failed.empty() ? nullptr : &failed.front();
}

std::string describe(const WorkerEnd& end) {
  char after[32];
  std::snprintf(after, sizeof after, "%.1f", end.seconds);
  std::string out = formatted("rank {} on {}", end.rank, end.host);
  out += end.signal != 0 ? formatted(" was killed by {}", signal_name(end.signal))
                         : formatted(" ended with status {}", end.exit_code);
  out += formatted(" after {} s", after);
  if (end.signal == 0 && end.exit_code == kPeerLost) out += " (it lost a peer)";
  if (end.signal == 0 && end.exit_code == kWrongInput) return out + " (wrong input)";
  if (!end.message.empty()) out += "; its error file: " + end.message;
  if (!end.last_lines.empty()) out += "; last lines of its stderr: " + end.last_lines;
  return out;
}

std::string error_file_message(const std::string& json) {
  const auto parsed = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  // torchrun itself writes {"message": {"message": ...}}, some programs {"message": "..."}.
  const nlohmann::json* level = &parsed;
  for (int depth = 0; depth < 2 && level->is_object() && level->contains("message"); ++depth) {
    level = &(*level)["message"];
  }
  if (!level->is_string()) return "";
  const auto text = level->get<std::string>();
  return text.substr(0, text.find('\n'));
}

}  // namespace vmla::launch
