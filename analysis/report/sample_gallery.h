#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/runs/run_contents.h"
#include "data/synth/mosaic_config.h"

namespace vmla::analysis {

/// The videos as a grid that plays, embedded in the page, each with its prompt. Under a prompt
/// about moving shapes stands what the video shows, read back from its pixels: ticked where the
/// prompt says so, else crossed. At most `most_bytes` of video files are embedded, and only .mp4; a
/// line says how many stayed out and where they are. With `mosaic` shapes stand before that ground.
std::string sample_gallery(const std::vector<SampleClip>& clips,
                           int64_t most_bytes,
                           const std::optional<data::MosaicConfig>& mosaic = std::nullopt);

}  // namespace vmla::analysis
