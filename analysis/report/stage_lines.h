#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "analysis/runs/run_contents.h"

/// Which stages of a pipeline start from each other.
namespace vmla::analysis {

/// Lines of descent, as indices into `stages`: one for every stage that no other one starts from,
/// from its first ancestor on. A stage that several start from is in several lines.
std::vector<std::vector<size_t>> stage_lines(const std::vector<RunContents>& stages);

/// A link (HTML) to the stage's own page.
std::string link_to_stage(const std::string& name);

}  // namespace vmla::analysis
