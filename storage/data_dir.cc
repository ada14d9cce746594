#include "storage/data_dir.h"
