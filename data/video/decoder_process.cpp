#include "data/video/decoder_process.h"

#include <utility>

#include "model/io/format.h"
#include "model/io/program_beside.h"

namespace vmla::data {
namespace fs = std::filesystem;

fs::path find_decoder_program() {
  if (const auto found = io::find_program_beside("vmla-decode")) return *found;
  if (const auto plain = io::find_program_beside("vmla-decode-y4m")) return *plain;
  return io::program_beside("vmla-decode", "reads and writes videos");
}

DecoderProcess::DecoderProcess(fs::path program) : program_(std::move(program)) {}
DecoderProcess::~DecoderProcess() = default;

ReadOutcome DecoderProcess::read(const fs::path& video,
                                 const ReadOptions& options,
                                 const FrameSink& sink) {
  VideoInfo info;  // nothing here depends on it
  return ask(RequestKind::kRead, video, options, info, sink);
}

VideoLook DecoderProcess::look(const fs::path& video, double time_limit_seconds) {
  VideoLook found;
  const ReadOptions nothing = {.time_limit_seconds = time_limit_seconds};
  const auto refuse = [](int64_t, const uint8_t*) { return false; };
  found.problem = ask(RequestKind::kLook, video, nothing, found.info, refuse).problem;
  const VideoInfo& info = found.info;
  const bool known = info.height > 0 && info.width > 0 && info.pixel_aspect > 0;
  if (found.problem.empty() && !known) found.problem = "does not say how large its pictures are";
  return found;
}

ReadOutcome DecoderProcess::ask(RequestKind kind,
                                const fs::path& video,
                                const ReadOptions& options,
                                VideoInfo& info,
                                const FrameSink& sink) {
  std::error_code no_folder;  // the working directory may be gone
  const std::string path = fs::absolute(video, no_folder).string();
  if (no_folder) return {.problem = no_folder.message()};
  const VideoRequest request = {.kind = kind,
                                .path_bytes = static_cast<uint32_t>(path.size()),
                                .height = static_cast<uint32_t>(options.height),
                                .width = static_cast<uint32_t>(options.width),
                                .fps = options.fps,
                                .max_frames = static_cast<uint64_t>(options.max_frames)};
  frame_.resize(static_cast<size_t>(options.height * options.width * 3));

  if (!child_) child_ = std::make_unique<ChildProcess>(program_);
  ReadOutcome outcome;
  if (child_->write(&request, sizeof request) && child_->write(path.data(), path.size())) {
    outcome = receive(options, info, sink);
  } else {
    outcome.problem = "the decoder " + child_->kill_and_describe();
    child_.reset();
  }
  return outcome;
}

ReadOutcome DecoderProcess::receive(const ReadOptions& options,
                                    VideoInfo& info,
                                    const FrameSink& sink) {
  ReadOutcome outcome;
  double seconds_left = options.time_limit_seconds;
  // Ends this child: what it would send next cannot be told from what it should have sent.
  const auto give_up = [&](std::string problem) {
    child_.reset();
    outcome.problem = std::move(problem);
    return outcome;
  };
  const auto interrupted = [&](ChildProcess::Read how) {
    if (how == ChildProcess::Read::kTimeout) {
      return give_up(
          formatted("no answer from the decoder within {:g} s", options.time_limit_seconds));
    }
    return give_up("the decoder " + child_->kill_and_describe());
  };
  for (;;) {
    ReplyHeader header;
    ChildProcess::Read how = child_->read(&header, sizeof header, seconds_left);
    if (how != ChildProcess::Read::kDone) return interrupted(how);
    const bool is_text = header.kind == ReplyKind::kEnd || header.kind == ReplyKind::kFailed;
    const bool valid = (header.kind == ReplyKind::kOpened && header.bytes == sizeof(VideoInfo)) ||
                       (header.kind == ReplyKind::kFrame && header.bytes == frame_.size()) ||
                       (is_text && header.bytes <= kMostTextBytes);
    if (!valid) return give_up("the decoder sent garbage");
    std::string text(is_text ? header.bytes : 0, '\0');
    void* into = header.kind == ReplyKind::kFrame ? static_cast<void*>(frame_.data())
                 : is_text                        ? static_cast<void*>(text.data())
                                                  : static_cast<void*>(&info);
    how = child_->read(into, header.bytes, seconds_left);
    if (how != ChildProcess::Read::kDone) return interrupted(how);
    if (is_text) {
      outcome.problem = std::move(text);
      return outcome;
    }
    if (header.kind == ReplyKind::kFrame && !sink(outcome.frames++, frame_.data())) {
      child_.reset();
      return outcome;
    }
  }
}

}  // namespace vmla::data
