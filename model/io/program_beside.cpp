#include "model/io/program_beside.h"

#include "model/io/error.h"

namespace vmla::io {
namespace fs = std::filesystem;

namespace {

fs::path own_folder() {
  std::error_code problem;
  const fs::path here = fs::read_symlink("/proc/self/exe", problem).parent_path();
  if (problem) fail_run("/proc/self/exe: {}", problem.message());
  return here;
}

}  // namespace

std::optional<fs::path> find_program_beside(std::string_view name) {
  const fs::path here = own_folder();
  std::error_code ignored;
  for (const fs::path& folder : {here, here.parent_path()}) {
    if (fs::exists(folder / name, ignored)) return folder / name;
  }
  return std::nullopt;
}

fs::path program_beside(std::string_view name, std::string_view purpose) {
  if (const auto found = find_program_beside(name)) return *found;
  fail_run("the program {}, which {}, is not beside {}", name, purpose, own_folder().string());
}

}  // namespace vmla::io
