#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "analysis/runs/run_contents.h"

namespace vmla::analysis {

/// The videos as a grid that plays, embedded in the page, each with its prompt. Under a prompt
/// about moving shapes stands what the video shows, read back from its pixels: ticked where the
/// prompt says so, else crossed. At most `most_bytes` of video files are embedded, and only .mp4; a
/// line says how many stayed out and where they are.
std::string sample_gallery(const std::vector<SampleClip>& clips, int64_t most_bytes);

}  // namespace vmla::analysis
