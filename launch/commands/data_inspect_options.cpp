#include "launch/commands/data_inspect.h"

namespace vmla::launch {

const CommandText DataInspectArgs::kText = {
    "data inspect",
    "prints what a latent dataset holds, and checks it",
    R"(Counts, shapes, codec, text encoder, captions; checks the file; renders a contact sheet.

Example:
  vmla data inspect clips.h5)"};

void DataInspectArgs::define(OptionSet& options) {
  options.text("file", file, "FILE.h5", "dataset: an HDF5 file or a folder of them").required();
  options.text(
      "--sheet", sheet, "FILE.png", "contact sheet to write (default: beside the dataset)");
}

}  // namespace vmla::launch
