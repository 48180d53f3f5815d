SELECT quorate_admit(:name, :epoch);
