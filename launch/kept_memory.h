#pragma once

namespace vmla::launch {

/// Makes malloc keep freed memory. Every training step needs as much as the one before has freed;
/// by default malloc returns it to the system in between, which then has to map every page again.
void keep_freed_memory();

}  // namespace vmla::launch
