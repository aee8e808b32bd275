#include "analysis/runs/readable_text.h"

#include "model/io/atomic_file.h"
#include "model/io/error.h"

namespace vmla::analysis {

std::optional<std::string> readable_text(const std::filesystem::path& path) {
  try {
    return io::read_text_file(path);
  } catch (const UserError&) {
    return std::nullopt;
  }
}

}  // namespace vmla::analysis
