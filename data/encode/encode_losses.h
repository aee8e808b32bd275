#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "data/encode/encode_videos.h"
#include "data/video/decoder_process.h"

/// What a job of encoding leaves out, in words.
namespace vmla::data {

/// What a video lost that gave `clips` clips of `frames` frames; nothing if all of it became clips.
std::optional<SkippedVideo> loss_of(const VideoEntry& video,
                                    const ReadOutcome& outcome,
                                    int64_t clips,
                                    int64_t frames);

/// Says in the log what lies in the folder and is not read.
void log_passed_over(const VideoFolder& folder);

/// Where the list of a dataset's losses stands: NAME.skipped.csv beside NAME.h5.
std::filesystem::path losses_path(const std::filesystem::path& dataset);

/// Logs the first ten videos that were skipped, cut short or without a caption, and writes all of
/// them to losses_path(out), with what of the folder was passed over. `shown` is the dataset's path
/// in the log: where it will stand in the end.
void list_losses(const std::filesystem::path& out,
                 const std::filesystem::path& shown,
                 const EncodeReport& report);

}  // namespace vmla::data
