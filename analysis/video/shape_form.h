#pragma once

#include "analysis/video/foreground.h"

namespace vmla::analysis {

/// The form that fits a clip's coverage best, an index of data::kShapeNames: each form is drawn at
/// the measured size and centre, and the one with the least squared misfit over all frames wins.
int read_form(const ClipLevels& clip, const Foreground& coverage);

}  // namespace vmla::analysis
