#include "storage/index.h"
