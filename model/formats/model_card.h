#pragma once

#include <string>

#include "model/formats/export_format.h"

namespace vmla::model {

/// README.md of an export: what it is, the licence of the base weights where the sizes tell which
/// they are, how it is opened, and up to how many frames each engine is exact.
std::string model_card(const ExportFormat& format,
                       const ExportSource& source,
                       const std::string& stage,
                       int64_t step);

}  // namespace vmla::model
