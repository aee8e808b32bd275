#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "trainer/evaluation/video_sampler.h"

/// A folder of sampled videos and samples.json, the list of them (docs/formats.md).
namespace vmla::trainer {

/// What samples.json says of one video.
struct SampleRecord {
  std::string file, prompt;
  /// What the file is named after, if that is another text.
  std::string original;
  uint64_t seed = 0;
  /// Video frames in the file.
  int64_t frames = 0;
  double fps = 0;
  /// Of each chunk's denoising passes.
  std::vector<double> chunk_seconds;
  /// Of all context passes and prompt switches together.
  double cache_seconds = 0;
  /// From the prompt to the first and to the last chunk's pixels.
  double first_chunk_seconds = 0, seconds = 0;
  /// Of the cache that the last chunk was denoised against.
  int64_t cache_bytes = 0;
  /// Videos that were sampled together, this one among them: chunk_seconds and cache_seconds are
  /// those of all.
  int64_t batch_size = 1;
  /// A later prompt, and the video frame from which on it is followed.
  struct Part {
    std::string prompt;
    int64_t first_frame;
  };
  std::vector<Part> later_prompts;
};

/// The file of prompt `i` of the request, without its extension.
std::string sample_stem(const VideoSampler::Request& request, size_t i);

/// An entry of the list: a JSON object as it stands there. Text that is no valid UTF-8 is replaced,
/// not refused.
std::string sample_entry(const SampleRecord& record, const VideoSampler::Request& request);
/// The name of its file in the folder.
std::string file_of_entry(const std::string& entry);
/// What it says, in a line for people.
std::string line_of_entry(const std::string& entry);

/// Writes samples.json.
void write_sample_list(const std::vector<std::string>& entries,
                       const std::filesystem::path& folder);

/// Makes the folder. UserError where it cannot be made.
void make_sample_folder(const std::filesystem::path& folder);

/// Makes the folder, or removes the videos that its list names, and the list: an earlier call's
/// videos must not stand beside a list that says nothing of them, nor its list beside other videos.
/// Files that no list names are left alone: they may be anybody's.
void make_room_for_samples(const std::filesystem::path& folder);

/// The entries of samples.json whose videos are there. UserError if one is asked for with another
/// prompt, seed, length or maker: the folder would mix two sets of videos.
std::vector<std::string> samples_before(const VideoSampler::Request& request,
                                        int64_t pixel_frames,
                                        const std::filesystem::path& folder);

/// `request` without the videos that `kept` names.
VideoSampler::Request without_samples(const VideoSampler::Request& request,
                                      const std::vector<std::string>& kept);

}  // namespace vmla::trainer
