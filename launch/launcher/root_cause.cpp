#include "launch/launcher/root_cause.h"

#include <nlohmann/json.hpp>

#include "launch/launcher/signal_queue.h"
#include "model/io/error.h"
#include "model/io/json_text.h"

namespace vmla::launch {

bool has_failed(const WorkerEnd& end) {
  return end.signal != 0 || (end.exit_code != 0 && end.exit_code != kStopped);
}

bool is_secondary_failure(const WorkerEnd& end) {
  return end.after_stop || (end.signal == 0 && end.exit_code == kPeerLost);
}

int status_of(const WorkerEnd& end) {
  return end.signal != 0 ? 128 + end.signal : end.exit_code;
}

const WorkerEnd* root_cause(const std::vector<WorkerEnd>& failed) {
  for (const WorkerEnd& end : failed) {
    if (!is_secondary_failure(end)) return &end;
  }
  return failed.empty() ? nullptr : &failed.front();
}

std::string describe(const WorkerEnd& end) {
  const std::string how = end.signal != 0 ? formatted("was killed by {}", signal_name(end.signal))
                                          : formatted("ended with status {}", end.exit_code);
  std::string line =
      formatted("rank {} on {} {} after {:.1f} s", end.rank, end.host, how, end.seconds);
  if (end.signal == 0 && end.exit_code == kPeerLost) line += " (it lost a peer)";
  if (end.signal == 0 && end.exit_code == kWrongInput) return line + " (wrong input)";
  if (!end.message.empty()) line += "; its error file: " + end.message;
  if (!end.last_lines.empty()) line += "; last lines of its stderr: " + end.last_lines;
  return line;
}

std::string error_file_message(const std::string& json) {
  const auto parsed = io::parse_json_or_discard<nlohmann::json>(json);
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
