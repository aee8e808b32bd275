#include "launch/commands/data_inspect.h"

#include <cstdio>
#include <filesystem>

#include "data/inspect/inspect_dataset.h"
#include "data/store/latent_dataset.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"

namespace vmla::launch {

int run(const DataInspectArgs& args) {
  const data::DatasetInspection found = data::inspect_dataset(args.file);
  std::fputs(found.text.c_str(), stdout);
  if (data::LatentDataset(args.file).has_latents()) {
    const std::filesystem::path sheet =
        args.sheet.empty() ? std::filesystem::path(args.file).replace_extension(".png")
                           : std::filesystem::path(args.sheet);
    data::write_contact_sheet(args.file, sheet);
    log::info("first frames: {}", sheet.string());
  }
  if (!found.problems.empty()) {
    fail_user("{}: {} clips hold NaN or infinite numbers; encode them again",
              args.file,
              found.problems.size());
  }
  return kDone;
}

}  // namespace vmla::launch
