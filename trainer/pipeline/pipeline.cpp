#include "trainer/pipeline/pipeline.h"

#include <cstdlib>

#include "model/io/error.h"
#include "model/io/log.h"
#include "trainer/pipeline/pipeline_files.h"
#include "trainer/pipeline/pipeline_runner.h"
#include "trainer/pipeline/run_folder.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;

/// A folder that goes away with its owner; a dry run leaves nothing behind.
class TemporaryFolder {
 public:
  TemporaryFolder() : path_((fs::temp_directory_path() / "vmla-XXXXXX").string()) {
    if (mkdtemp(path_.data()) == nullptr) fail_run("{}: cannot create a temporary folder", path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  fs::path path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

int run_pipeline(const PipelineConfig& pipeline, const PipelineOptions& options) {
  if (options.dry_run) {
    const TemporaryFolder configs;
    return run_stages(pipeline, options, configs.path());
  }
  RunFolder folder(pipeline.run_dir, RunFolder::Kind::kPipeline);
  folder.begin_group(pipeline_yaml(pipeline));
  log::set_file(pipeline.run_dir / "log.txt");
  fs::create_directories(pipeline.run_dir / "configs");
  const int status = run_stages(pipeline, options, pipeline.run_dir / "configs");
  if (status != 0) return status;
  folder.expect_in_place();
  write_pipeline_summary(pipeline);
  return status;
}

}  // namespace vmla::trainer
