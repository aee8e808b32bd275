#include "data/encode/job_progress.h"

#include <unistd.h>

#include <utility>

namespace vmla::data {
namespace {

constexpr auto kBetweenLines = std::chrono::seconds(30);

}  // namespace

JobProgress::JobProgress(std::string label, std::string unit, long total)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      is_terminal_(isatty(STDERR_FILENO) == 1),
      bar_(label_, total) {}

void JobProgress::update(long done, std::string_view note) {
  bar_.update(done, note);
  const auto now = Clock::now();
  if (is_terminal_ || now - last_said_ < kBetweenLines) return;
  last_said_ = now;
  log::info("{}: {} of {} {}{}{}", label_, done, total_, unit_, note.empty() ? "" : ", ", note);
}

}  // namespace vmla::data
