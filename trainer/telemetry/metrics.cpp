#include "trainer/telemetry/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/json_text.h"
#include "model/io/log.h"
#include "model/io/regular_file.h"
#include "trainer/telemetry/write_fully.h"

namespace vmla::trainer {

std::string cut_back_metrics(const std::string& text, int64_t last_step, int64_t& dropped) {
  std::string kept;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const bool torn = lines.eof();  // no newline at its end: the process died while it wrote
    const nlohmann::json object = io::parse_json_or_discard<nlohmann::json>(line);
    const bool sound = !torn && object.is_object() && object.contains("step") &&
                       object["step"].is_number_integer();
    dropped += !sound;
    if (sound && object["step"].get<int64_t>() <= last_step) kept += line + '\n';
  }
  return kept;
}

std::map<std::string, double> newest_metrics(const std::filesystem::path& run_dir) {
  std::map<std::string, double> newest;
  std::ifstream lines(run_dir / "metrics.jsonl");
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json object = io::parse_json_or_discard<nlohmann::json>(line);
    if (!object.is_object()) continue;
    for (const auto& [name, value] : object.items()) {
      if (value.is_number()) newest[name] = value.get<double>();
    }
  }
  return newest;
}

MetricsLog::MetricsLog(const std::filesystem::path& run_dir, std::string stage, int64_t last_step)
    : path_(run_dir / "metrics.jsonl"), stage_(std::move(stage)), tensorboard_(run_dir) {
  if (std::filesystem::exists(path_)) {
    int64_t dropped = 0;
    io::write_file_atomically(path_,
                              cut_back_metrics(io::read_text_file(path_), last_step, dropped));
    if (dropped > 0) log::warn("{}: dropped {} damaged lines", path_.string(), dropped);
    tensorboard_.restart_at(last_step + 1);
  }
  fd_ = io::open_regular_file(path_, O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (fd_ < 0) fail_run("{}: cannot open this file: {}", path_.string(), io::open_problem(errno));
}

MetricsLog::~MetricsLog() {
  if (fd_ >= 0) ::close(fd_);
}

void MetricsLog::append(int64_t step, const MetricValues& values) {
  nlohmann::ordered_json object = {{"step", step}, {"stage", stage_}};
  for (const auto& [name, value] : values) {
    // Steps, counts and bytes read better without an exponent or a decimal point.
    if (std::isfinite(value) && value == std::floor(value) && std::abs(value) < 1e15) {
      object[name] = static_cast<int64_t>(value);
    } else {
      object[name] = value;  // not finite: null
    }
    if (std::isfinite(value)) tensorboard_.scalar(name, step, value);
  }
  write_fully(fd_, object.dump() + '\n', path_);
  tensorboard_.flush();
}

}  // namespace vmla::trainer
