#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "analysis/runs/run_reading.h"

namespace vmla::analysis {

/// The videos as a grid that plays, embedded in the page, each with its prompt. Under a prompt
/// about moving shapes stands what the video shows, read back from its pixels, ticked or crossed.
/// At most `most_bytes` of video are embedded; a line says how many stayed out and where they are.
std::string sample_gallery(const std::vector<SampleClip>& clips, int64_t most_bytes);

}  // namespace vmla::analysis
