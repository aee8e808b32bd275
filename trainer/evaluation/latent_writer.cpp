#include "trainer/evaluation/latent_writer.h"

#include <ATen/ATen.h>

#include <vector>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/file_writer.h"
#include "model/io/safetensors_header.h"

namespace vmla::trainer {
namespace fs = std::filesystem;

LatentWriter::LatentWriter(fs::path path, int64_t frames)
    : path_(std::move(path)), unfinished_(io::temporary_path(path_)), frames_(frames) {}

LatentWriter::~LatentWriter() {
  if (!file_) return;
  file_.reset();
  std::error_code ignored;
  fs::remove(unfinished_, ignored);
}

void LatentWriter::append(const at::Tensor& latents_FCHW) {
  const at::Tensor data = latents_FCHW.to(at::kCPU, at::kFloat).contiguous();
  if (!file_) {
    std::vector<int64_t> shape = data.sizes().vec();
    shape[0] = frames_;
    std::vector<io::StoredTensor> layout = {{"latents", io::StoredType::f32, shape, 0, 0}};
    const std::string head = io::lay_out_safetensors(layout, {});
    file_ = std::make_unique<io::FileWriter>(unfinished_);
    file_->write(head.data(), head.size());
  }
  file_->write(data.const_data_ptr(), data.nbytes());
  written_ += data.size(0);
}

void LatentWriter::close() {
  TORCH_CHECK(written_ == frames_, "latents of ", written_, " frames written of ", frames_);
  file_->close();
  file_.reset();
  // Others see the whole file or none. It is not flushed to disk: what a crash of the machine loses
  // can be sampled again.
  std::error_code problem;
  fs::rename(unfinished_, path_, problem);
  if (problem) fail_run("cannot write {}: {}", path_.string(), problem.message());
}

}  // namespace vmla::trainer
