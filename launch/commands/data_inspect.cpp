#include "launch/commands/data_inspect.h"

#include <cstdio>
#include <filesystem>

#include "data/inspect/inspect_dataset.h"
#include "data/inspect/png_writer.h"
#include "data/store/latent_dataset.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"

namespace vmla::launch {
namespace {

void write_sheet(const DataInspectArgs& args, const data::LatentDataset& dataset) {
  if (model::codec_has_weights(dataset.info().codec) && args.codec_weights.empty() &&
      args.sheet.empty()) {
    log::info("no contact sheet: codec {} needs --codec-weights PATH", dataset.info().codec);
    return;
  }
  const at::Tensor picture =
      data::contact_sheet(dataset, args.file, {.weights = args.codec_weights});
  const std::filesystem::path sheet =
      args.sheet.empty() ? std::filesystem::path(args.file).replace_extension(".png")
                         : std::filesystem::path(args.sheet);
  try {
    data::write_png(sheet, picture);
    log::info("first frames: {}", sheet.string());
  } catch (const RunError& problem) {
    // A dataset may lie where nobody can write; only a sheet that was asked for is missed.
    if (!args.sheet.empty()) throw;
    log::warn("no contact sheet beside the dataset ({}); --sheet FILE.png names another place",
              problem.what());
  }
}

}  // namespace

int run(const DataInspectArgs& args) {
  const data::LatentDataset dataset(args.file);
  const data::DatasetInspection found = data::inspect_dataset(dataset, args.file, args.full);
  std::fputs(found.text.c_str(), stdout);
  std::fflush(stdout);
  if (!found.problems.empty()) {
    fail_user("{}: {} of the {} clips that were read are not sound, clips above; make them again",
              args.file,
              found.problems.size(),
              found.clips_read);
  }
  if (dataset.has_latents()) write_sheet(args, dataset);
  std::fputs(found.verdict.c_str(), stdout);  // the last check is behind us
  return kDone;
}

}  // namespace vmla::launch
