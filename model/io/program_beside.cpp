#include "model/io/program_beside.h"

#include "model/io/error.h"

namespace vmla::io {
namespace fs = std::filesystem;

fs::path program_beside(std::string_view name, std::string_view purpose) {
  std::error_code problem;
  const fs::path here = fs::read_symlink("/proc/self/exe", problem).parent_path();
  if (problem) fail_run("/proc/self/exe: {}", problem.message());
  for (const fs::path& folder : {here, here.parent_path()}) {
    if (fs::exists(folder / name, problem)) return folder / name;
  }
  fail_run("the program {}, which {}, is not beside {}", name, purpose, here.string());
}

}  // namespace vmla::io
